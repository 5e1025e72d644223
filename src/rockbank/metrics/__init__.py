"""Scores of a generator: FID, KID, two-point correlation, diversity, memorisation."""
