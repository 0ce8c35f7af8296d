"""The operator's container image, with Docker or without."""
