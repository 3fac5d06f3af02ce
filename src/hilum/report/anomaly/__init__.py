"""The section "Anomaly detection"."""
