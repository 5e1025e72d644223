"""Scans in foreign files, a module a format."""
