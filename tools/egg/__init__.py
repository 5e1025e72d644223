"""The Egg model: beside OPM Flow, and matched."""
