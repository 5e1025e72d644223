"""A generator in onnxruntime, its batches, and which version answers."""
