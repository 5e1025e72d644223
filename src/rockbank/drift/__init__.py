"""New scans against the rock that the generators learnt from."""
