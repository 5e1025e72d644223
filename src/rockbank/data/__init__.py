"""From raw scans, or from a law, to crops."""
