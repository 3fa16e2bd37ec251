"""What the service tells of itself: logs and counts, never with what a caller sent."""
