"""A deck's liquids, its saturation functions, and how they lie at first."""
