"""Section `parameters` of a match: what is unknown, by name, and its prior."""
