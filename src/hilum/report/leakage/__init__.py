"""Leakage: patient, image and official split compared."""
