"""The Open Inference Protocol's messages."""
