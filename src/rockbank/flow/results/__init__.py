"""What a run came to: balance, NetCDF, pictures."""
