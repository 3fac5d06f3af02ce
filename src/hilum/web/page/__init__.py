"""The page of `hilum serve`: templates, static files, the study browser, and the files that a reader can export."""
