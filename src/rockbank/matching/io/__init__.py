"""Files that a match reads."""
