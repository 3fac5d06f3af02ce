"""Normal vs pneumonia; normal, bacterial or viral: performance of each task's model."""
