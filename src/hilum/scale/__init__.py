"""Where one machine with Python and torch is outgrown: exported models."""
