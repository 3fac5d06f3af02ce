"""Reliability: calibration, operating points, prediction sets, selective prediction."""
