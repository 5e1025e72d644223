"""An HTTP service that samples registered generators; it needs no torch."""
