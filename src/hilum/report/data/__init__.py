"""The section "Data and audit"."""
