"""How good a prior of a history match a generator of channels is."""
