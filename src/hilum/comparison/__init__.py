"""A grid of recipes on the same patient-disjoint folds, and what a leaky split changes."""
