"""The section "Reporting checklists"."""
