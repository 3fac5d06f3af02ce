"""Trained models for people who train nothing: packing them, and asking the packed ones."""
