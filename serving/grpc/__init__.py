"""What the gRPC server answers beside the protocol's own calls."""
