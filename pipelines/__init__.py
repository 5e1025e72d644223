"""The DVC stages: each reads params, calls rockbank.stages and writes its outputs."""
