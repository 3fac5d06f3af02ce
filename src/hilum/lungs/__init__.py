"""The lungs of a radiograph: where they are, by a small network that was trained on phantoms alone."""
