"""Gauss-Newton in the latent, and the values that its search is made of."""
