"""Generative adversarial networks: their layers, losses, training, weights and ONNX graphs."""
