"""Acquisition counterfactual: how a trained network does when the look of devices is swapped between labels."""
