"""Pages of the site that are made of the code, of the README and of the reports: mkdocs calls `hook`."""
