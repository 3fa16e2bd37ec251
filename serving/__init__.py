"""Answering with the champion: scoring, the score store, the HTTP service."""
