"""What happens to a generator, step by step: the DVC stages and `rockbank import` call these."""
