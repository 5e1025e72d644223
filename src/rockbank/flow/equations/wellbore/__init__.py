"""Inside the wells: heads, and cross-flow from one perforation to another."""
