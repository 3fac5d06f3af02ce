"""Training: recipe -> loader -> module -> fit. One call, `fit.fit_task`, turns cached images into a model."""
