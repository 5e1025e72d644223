"""The report on DeepFlow's case."""
