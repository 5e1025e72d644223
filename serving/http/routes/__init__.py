"""HTTP endpoints, a module per concern; each exports its `router`."""
