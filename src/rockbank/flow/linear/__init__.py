"""Linear solvers of the Jacobian and of its transpose."""
