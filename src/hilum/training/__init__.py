"""Training: recipe -> loader -> module -> fit. One call, `fit.fit_task`, turns cached films into a model."""
