"""The only doors to MLflow, and the gate before the registry."""
