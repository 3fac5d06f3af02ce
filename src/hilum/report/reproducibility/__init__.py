"""The section "Reproducibility"."""
