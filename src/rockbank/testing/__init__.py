"""Problems small enough to be solved exactly, for tests and benchmarks."""
