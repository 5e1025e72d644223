"""The exact gradients of a run: the discrete adjoint."""
