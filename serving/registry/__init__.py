"""Follows the registry, and loads what an alias names."""
