"""Between a network's range and intensity, channel by channel."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

ValueRange = tuple[tuple[float, float], ...]


def to_intensity(image: Float32[np.ndarray, "n c h w"], value_range: ValueRange) -> Float32[np.ndarray, "n c h w"]:
    """(x - low) / (high - low) of a network's output; not clipped."""
    low, high = _bounds(value_range)
    intensity: Float32[np.ndarray, "n c h w"] = (image - low) / (high - low)
    return intensity


def to_network(intensity: Float32[np.ndarray, "n c h w"], value_range: ValueRange) -> Float32[np.ndarray, "n c h w"]:
    """low + intensity (high - low): what a critic is shown."""
    low, high = _bounds(value_range)
    image: Float32[np.ndarray, "n c h w"] = low + intensity * (high - low)
    return image


def _bounds(value_range: ValueRange) -> Float32[np.ndarray, "2 c 1 1"]:
    return np.asarray(value_range, dtype=np.float32).T[:, :, None, None]
