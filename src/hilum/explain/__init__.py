"""Explanations: what the decision, a layer and a neuron look at. They work on any plain torch network."""
