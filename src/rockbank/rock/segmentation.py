"""Phases of a rock: Gaussian smoothing, and a threshold, given or by Otsu."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from rockbank.core.errors import InputError

PHASES = ("below", "above")


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """How the phase of interest is segmented from the rest.

    Attributes:
        smoothing: sigma of a Gaussian before the threshold, pixels; 0 smooths nothing.
        threshold: intensity, in [0, 1].
        phase: the side of the threshold that is the phase: "below" (pores) takes the threshold
            itself, as Otsu's lower class does, "above" (sand) does not.
        channel: of the image, counted from 0.
    """

    smoothing: float
    threshold: float
    phase: str
    channel: int = 0

    def __post_init__(self) -> None:
        if not self.smoothing >= 0:
            raise InputError(f"smoothing: got {self.smoothing}; use a sigma of at least 0 pixels")
        if not 0 <= self.threshold <= 1:
            raise InputError(f"threshold: got {self.threshold}; use an intensity in [0, 1]")
        if self.phase not in PHASES:
            raise InputError(f"phase: got {self.phase!r}; known are {list(PHASES)}")
        if self.channel < 0:
            raise InputError(f"channel: got {self.channel}; count from 0")


def smooth(images: Float[np.ndarray, "*n h w"], sigma: float) -> Float[np.ndarray, "*n h w"]:
    """Gaussian of `sigma` pixels over the last two axes, mirrored at the edges; 0 gives the images back."""
    if sigma == 0:
        return images
    width = (0.0,) * (images.ndim - 2) + (sigma, sigma)
    return np.asarray(ndimage.gaussian_filter(images, width, mode="reflect"))


def smooth_within(
    image: Float[np.ndarray, "h w"], rock: Bool[np.ndarray, "h w"], sigma: float
) -> Float[np.ndarray, "h w"]:
    """`smooth` over the rock alone (normalised convolution, Knutsson and Westin 1993); 0 where there is none."""
    weight = smooth(rock.astype(image.dtype), sigma)
    weighted = smooth(np.where(rock, image, image.dtype.type(0)), sigma)
    return np.where(rock, weighted / np.where(rock, weight, image.dtype.type(1)), image.dtype.type(0))


def segment(intensity: Float[np.ndarray, "n c h w"], segmentation: Segmentation) -> Bool[np.ndarray, "n h w"]:
    """Where the phase of interest is.

    Raises:
        InputError: where the images are not (n, c, h, w) or lack the channel.
    """
    if intensity.ndim != 4 or intensity.shape[1] <= segmentation.channel:
        raise InputError(
            f"images of shape {intensity.shape} have no channel {segmentation.channel}; "
            "give (n, c, h, w), or name another channel in the segmentation"
        )
    smoothed = smooth(intensity[:, segmentation.channel], segmentation.smoothing)
    if segmentation.phase == "below":
        return smoothed <= segmentation.threshold
    return smoothed > segmentation.threshold


def otsu_threshold(values: Float[np.ndarray, "*dims"], n_bins: int = 256) -> float:
    """The threshold that parts `values` into the two classes furthest apart.

        argmax_t  w_0(t) w_1(t) (mu_0(t) - mu_1(t))^2        (Otsu 1979, eq. 14)

    over the bin centres of a histogram from the least to the greatest value. Where all values are
    equal it is that value.

    Raises:
        InputError: for no values, or values that are not finite.
    """
    if values.size == 0 or not np.isfinite(values).all():
        raise InputError(f"otsu needs finite values, got {values.size} with NaN or infinity; repair the images first")
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low
    counts, edges = np.histogram(values, bins=n_bins, range=(low, high))
    centres = (edges[1:] + edges[:-1]) / 2
    # Counts stay whole numbers, so bins left empty tie exactly and the first of them wins.
    w_0, moment = np.cumsum(counts)[:-1], np.cumsum(counts * centres)
    w_1 = counts.sum() - w_0
    mu_0, mu_1 = moment[:-1] / w_0, (moment[-1] - moment[:-1]) / w_1
    return float(centres[np.argmax(w_0 * w_1 * (mu_0 - mu_1) ** 2)])
