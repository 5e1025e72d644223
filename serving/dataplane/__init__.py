"""From a request to blocks of samples, and to bytes."""
