"""Detectors: one file each; the file name is the name in a recipe. See hilum.anomaly.detector for the contract."""
