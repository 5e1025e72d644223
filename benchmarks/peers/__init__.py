"""The service beside those that a user would pick, on the same graph."""
