"""The section "Summary"."""
