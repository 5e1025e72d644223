"""What a command does: sample, simulate, observe, match."""
