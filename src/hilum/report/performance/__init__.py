"""Normal vs pneumonia, and bacterial vs viral: performance of each task's model."""
