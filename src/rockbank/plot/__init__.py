"""Pictures that several parts draw."""
