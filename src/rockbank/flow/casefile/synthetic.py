"""Synthetic rocks, from a law and a seed: river channels, and layers of log-normal permeability."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

from rockbank.core.errors import InputError
from rockbank.data.synthetic.channels import FACIES, POROSITY, channel_sections

# DeepFlow's rock (Mosser, Dubrule and Blunt 2019): 1 darcy (in the round) where there is sand, a thousandth elsewhere.
_SAND, _SHALE = 1e-12, 1e-15
_LEAST_POROSITY, _POROSITY_RANGE = 0.1, 0.3

Field = Float[np.ndarray, "*shape"]


def channel_rock(section: Float[np.ndarray, "3 nz nx"]) -> tuple[Field, Field]:
    """Permeability (m^2) and porosity of a channel section, with i along the section and j down it.

        k = 1e-12 facies + 1e-15 m^2,   phi = 0.3 porosity + 0.1

    with the section's facies and porosity variable in [0, 1] (Mosser, Dubrule and Blunt 2019 and its code).
    """
    facies, porosity = (section[channel].T.astype(float) for channel in (FACIES, POROSITY))
    return _SAND * facies + _SHALE, _POROSITY_RANGE * porosity + _LEAST_POROSITY


def synthetic_channels(seed: int, sand_proportion: float = 0.5) -> tuple[Field, Field]:
    """Permeability (m^2) and porosity, 128 x 64, of a section of river channels."""
    return channel_rock(channel_sections(1, np.random.default_rng(seed), sand_proportion)[0])


def synthetic_layers(
    shape: tuple[int, ...],
    seed: int,
    *,
    permeability: float,
    log_deviation: float,
    lengths: tuple[float, ...],
    porosity: float,
    porosity_deviation: float,
) -> tuple[Field, Field]:
    """Permeability (m^2) and porosity of layered rock.

        k = permeability exp(log_deviation Y),   phi = clip(porosity + porosity_deviation Y, 0.01, 0.45)

    Y is white noise smoothed by a Gaussian, of mean 0 and deviation 1 over the cells.

    Args:
        shape: of the grid.
        seed: of the noise.
        permeability: its geometric mean, m^2.
        log_deviation: of the logarithm of the permeability.
        lengths: sigma of the smoothing along each axis, cells.
        porosity: its mean, before it is clipped.
        porosity_deviation: likewise.
    """
    if len(lengths) != len(shape):
        raise InputError(f"lengths: got {len(lengths)} for the {len(shape)} axes of the grid; give one each, in cells")
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), lengths, mode="reflect")
    y = (noise - noise.mean()) / noise.std()
    return permeability * np.exp(log_deviation * y), np.clip(porosity + porosity_deviation * y, 0.01, 0.45)
