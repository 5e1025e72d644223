"""A bank of rock generators."""
