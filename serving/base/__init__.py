"""Settings, errors, logs and metrics of the service."""
