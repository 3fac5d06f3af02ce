"""Robustness and missing data: corruptions, label efficiency, unseen class, corruption training."""
