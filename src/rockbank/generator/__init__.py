"""An exported generator: its card, its latents, and samples of it; without torch."""
