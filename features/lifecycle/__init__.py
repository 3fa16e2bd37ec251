"""Stages and segments: where a customer stands."""
