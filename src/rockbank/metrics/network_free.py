"""Statistics of rock that no network has a part in, and how far a generator's are from the rock's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from rockbank.rock.bands import Band, Curves, bootstrap_band
from rockbank.rock.correlation import s2_distance, two_point_curves
from rockbank.rock.descriptors import connectivity, lineal_path, porosity, specific_surface
from rockbank.rock.grey import frequencies, grey_distance, grey_histogram, radial_spectrum, spectrum_distance
from rockbank.rock.segmentation import Segmentation, segment

# What the bands are of.
BANDED = ("s2", "lineal_path", "spectrum")


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Statistics of one set of images; curves and scalars of each, the histogram of all of them.

    Attributes:
        shape: of an image.
        porosity: fraction of the phase.
        specific_surface: 1/pixel.
        connectivity: of the phase.
        s2: two-point probability along the axes at lags 0, 1, .. pixels.
        s2_radial: in all directions.
        lineal_path: at the same lags.
        spectrum: radial power at `grey.frequencies`.
        histogram: fraction of pixels at each grey level.
    """

    shape: tuple[int, int]
    porosity: Float[np.ndarray, " n"]
    specific_surface: Float[np.ndarray, " n"]
    connectivity: Float[np.ndarray, " n"]
    s2: Float[np.ndarray, "n r"]
    s2_radial: Float[np.ndarray, "n r"]
    lineal_path: Float[np.ndarray, "n r"]
    spectrum: Float[np.ndarray, "n k"]
    histogram: Float[np.ndarray, "256"]

    @classmethod
    def of(cls, intensity: Float[np.ndarray, "n c h w"], segmentation: Segmentation) -> Self:
        """Those of images in [0, 1]; grey values are those of the channel that the segmentation reads."""
        phase = segment(intensity, segmentation)
        grey = intensity[:, segmentation.channel]
        _, h, w = grey.shape
        return cls(
            shape=(h, w),
            porosity=porosity(phase),
            specific_surface=specific_surface(phase),
            connectivity=connectivity(phase),
            s2=two_point_curves(phase),
            s2_radial=two_point_curves(phase, "radial"),
            lineal_path=lineal_path(phase),
            spectrum=radial_spectrum(grey),
            histogram=grey_histogram(grey),
        )


def bands(
    real: Statistics,
    learnt: Statistics,
    blocks: Mapping[str, Int[np.ndarray, " n"]],
    n_samples: int,
    seed: int,
) -> dict[str, Band]:
    """The 95 % band of each curve about held-out rock (see bands.bootstrap_band).

    Args:
        real: of held-out crops.
        learnt: of training crops.
        blocks: of both: "real" and "learnt".
        n_samples: of the generator, whose mean curves will be held against the bands.
        seed: of the bootstrap.
    """
    return {
        name: bootstrap_band(
            Curves(values=getattr(real, name), blocks=blocks["real"]),
            Curves(values=getattr(learnt, name), blocks=blocks["learnt"]),
            n_samples,
            np.random.default_rng(seed),
        )
        for name in BANDED
    }


def compare(real: Statistics, other: Statistics, within: Mapping[str, Band]) -> dict[str, Any]:
    """How far `other` is from `real`.

    Returns:
        JSON-ready: grey_distance (full scale 1), spectrum_distance (relative), lineal_path_distance (probability);
        porosity_ratio, specific_surface_ratio and connectivity_ratio, means over those of `real`, None where the rock
        has 0; inside_band, the part of the lags or frequencies at which the mean curve lies in its band.
    """
    return {
        "grey_distance": grey_distance(real.histogram, other.histogram),
        "spectrum_distance": spectrum_distance(real.spectrum, other.spectrum),
        "lineal_path_distance": s2_distance(real.lineal_path, other.lineal_path),
        "porosity_ratio": _ratio(other.porosity, real.porosity),
        "specific_surface_ratio": _ratio(other.specific_surface, real.specific_surface),
        "connectivity_ratio": _ratio(other.connectivity, real.connectivity),
        "inside_band": {
            name: float(band.contains(getattr(other, name).mean(axis=0)).mean()) for name, band in within.items()
        },
    }


def mean_curves(real: Statistics, other: Statistics, within: Mapping[str, Band]) -> dict[str, dict[str, list[float]]]:
    """What a picture of the comparison draws, JSON-ready.

    Returns:
        For s2, lineal_path and spectrum: at (lags in pixels, frequencies in 1/pixel), real, low, high, generated;
        for grey: at (grey levels of 255), real, generated.
    """
    lags = np.arange(real.s2.shape[1])
    at = {"s2": lags, "lineal_path": lags, "spectrum": frequencies(real.shape)}
    curves = {
        name: {
            "at": at[name].tolist(),
            "real": band.centre.tolist(),
            "low": band.low.tolist(),
            "high": band.high.tolist(),
            "generated": getattr(other, name).mean(axis=0).tolist(),
        }
        for name, band in within.items()
    }
    levels = np.arange(len(real.histogram)).tolist()
    grey = {"at": levels, "real": real.histogram.tolist(), "generated": other.histogram.tolist()}
    return {**curves, "grey": grey}


def _ratio(values: Float[np.ndarray, " n"], real: Float[np.ndarray, " m"]) -> float | None:
    return float(values.mean() / real.mean()) if real.mean() > 0 else None
