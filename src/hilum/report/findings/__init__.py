"""The section "Findings"."""
