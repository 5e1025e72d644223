"""Formats that SimpleITK reads."""
