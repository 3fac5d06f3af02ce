"""What happens when valuable data is missing: pixels, labels, a whole class."""
