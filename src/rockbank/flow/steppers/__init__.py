"""From one report step to the next: Newton's method, and the sequential iteration."""
