"""Synthetic rock, from object models."""
