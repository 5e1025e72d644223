"""Case files in YAML."""
