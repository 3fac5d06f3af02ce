"""Evaluation: figures from predictions. Pure functions of numbers and tables; no model but in wrappers."""
