"""The model card: what a model is, and is not, for."""
