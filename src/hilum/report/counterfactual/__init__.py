"""Section "Acquisition counterfactual"."""
