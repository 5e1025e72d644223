"""The statistics of what is served, against the reference of its version."""
