"""Which model may serve, and which does."""
