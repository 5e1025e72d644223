"""History matching in a generator's latent space."""
