"""A network taken apart: its calls in order, receptive fields, and running only a part of it."""
