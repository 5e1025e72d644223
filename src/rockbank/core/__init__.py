"""What every part stands on: files written whole, provenance, configuration, pages, paths and the terminal."""
