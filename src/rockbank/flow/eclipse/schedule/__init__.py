"""A deck's wells and schedule."""
