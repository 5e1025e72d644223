"""The simulator against OPM Flow, against itself on larger grids, and its linear solvers among each other."""
