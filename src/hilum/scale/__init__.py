"""Where one machine with Python and torch is outgrown: whole archives, exported models."""
