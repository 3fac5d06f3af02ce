"""Evaluation of explanations: with the network alone, and on phantoms, where the truth is known."""
