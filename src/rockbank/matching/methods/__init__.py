"""Methods of history matching, and the workers that run their members."""
