"""Two-phase flow of oil and water through a rock, and its exact gradients."""
