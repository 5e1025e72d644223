"""From raw scans, or from object models, to crops."""
