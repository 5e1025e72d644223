"""Rock drawn from a law."""
