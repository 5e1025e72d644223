"""TIFF, whose files are chains of pages, with descriptions in several dialects."""
