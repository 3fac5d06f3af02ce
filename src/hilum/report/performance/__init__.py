"""Normal vs pneumonia, Bacterial vs viral: performance of each task's model."""
