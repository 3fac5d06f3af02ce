"""What single filters and layers of a network do."""
