"""Grid, rock, fluids and wells, and the discrete equations of two-phase flow on them."""
