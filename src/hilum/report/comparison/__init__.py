"""Comparison of architectures: the table of `hilum compare`."""
