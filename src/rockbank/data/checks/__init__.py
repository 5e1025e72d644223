"""The Great Expectations suite over a crop set, and its rules."""
