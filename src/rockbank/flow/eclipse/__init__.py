"""Eclipse decks and summaries."""
