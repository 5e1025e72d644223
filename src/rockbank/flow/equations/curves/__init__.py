"""Curves of the fluids: over saturation, over pressure, and of single cells."""
