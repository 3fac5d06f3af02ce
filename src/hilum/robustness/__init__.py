"""Robustness and missing data: corrupted images, few labels, a class that was never seen."""
