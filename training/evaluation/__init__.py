"""Judging models on later time than they learned from."""
