"""The simulator beside OPM Flow on decks, and beside the curves that DeepFlow published."""
