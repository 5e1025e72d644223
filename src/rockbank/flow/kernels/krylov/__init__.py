"""Iterating on the Jacobian, in compiled loops."""
