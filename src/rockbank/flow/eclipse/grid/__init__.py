"""A deck's grid and what lies in its cells."""
