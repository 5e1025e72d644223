"""Numbers that describe a phase: porosity, specific surface, connectivity, lineal path; and all of them for JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from rockbank.rock.correlation import two_point_curves

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Lags of S2 whose whole distribution a description keeps, pixels.
LAGS = (1, 2, 4, 8, 16)


def porosity(pores: Bool[np.ndarray, "n ..."]) -> Float[np.ndarray, " n"]:
    """Fraction of each sample that is the phase: porosity of pores, sand proportion of sand."""
    return np.asarray(pores.reshape(len(pores), -1).mean(axis=1))


def lineal_path(pores: Bool[np.ndarray, "n ..."]) -> Float[np.ndarray, "n r"]:
    """Probability that a straight run of r + 1 pixels lies all in the phase, averaged over the axes.

    L(0) = phi, and L(r) <= S2(r) (Lu and Torquato 1992, Phys. Rev. A 45, 922).

    Returns:
        L at r = 0 .. min(dims) // 2 pixels.
    """
    r_max = min(pores.shape[1:]) // 2
    curves = np.zeros((len(pores), r_max + 1))
    for axis in range(1, pores.ndim):
        along = np.moveaxis(pores, axis, -1)
        run = along
        for r in range(r_max + 1):
            if r:
                run = run[..., :-1] & along[..., r:]
            curves[:, r] += porosity(run)
    return curves / (pores.ndim - 1)


def specific_surface(pores: Bool[np.ndarray, "n ..."]) -> Float[np.ndarray, " n"]:
    """Boundary of the phase per area (per volume in 3-D), 1/pixel, from the faces between unlike pixels.

        s = sum over axes i of P(exactly one of x and x + e_i in the phase)  =  2 sum_i (phi - S2_i(1))

    up to the edge pixels. Faces follow the grid, so a smooth isotropic boundary is 4/pi (2-D) or
    3/2 (3-D) times shorter than this (Torquato 2002, sec. 2.2).
    """
    unlike = [porosity(np.diff(pores, axis=axis)) for axis in range(1, pores.ndim)]
    return np.asarray(np.sum(unlike, axis=0))


def connectivity(pores: Bool[np.ndarray, "n ..."]) -> Float[np.ndarray, " n"]:
    """Probability that two cells of the phase, drawn at random, belong to the same cluster.

        Gamma = sum over clusters of n_i^2 / (sum of n_i)^2      (Renard and Allard 2013, Adv. Water Resour. 51, 168)

    Cells are connected by their faces. 1 for one cluster, 1/m for m equal ones, 0 where there is none of the phase.
    """
    n = len(pores)
    faces = ndimage.generate_binary_structure(pores.ndim, 1)
    faces[0] = faces[-1] = False  # samples do not touch each other
    labels, n_clusters = ndimage.label(pores, structure=faces)
    sizes = np.bincount(labels.ravel(), minlength=n_clusters + 1)[1:].astype(float)
    owner = np.zeros(n_clusters + 1, dtype=np.intp)
    owner[labels.reshape(n, -1)] = np.arange(n)[:, None]
    together = np.bincount(owner[1:], sizes**2, minlength=n)
    cells = np.bincount(owner[1:], sizes, minlength=n)
    return np.asarray(together / np.maximum(cells, 1) ** 2)


def difference(pores: Bool[np.ndarray, "n ..."]) -> Float[np.ndarray, " n"]:
    """Part of the pixels in which each sample differs from the next, the last from the first; 0 where all are one."""
    return np.asarray((pores != np.roll(pores, -1, axis=0)).reshape(len(pores), -1).mean(axis=1))


def describe(pores: Bool[np.ndarray, "n h w"]) -> dict[str, Any]:
    """Statistics of a set of samples, ready for JSON: what generated samples are held against.

    Returns:
        n; porosity, specific_surface (1/pixel), connectivity and difference with mean, std, quantiles and all values,
        sorted; two_point and lineal_path with lags (pixels), mean and std over samples, two_point also with all values
        at the lags of `LAGS`.
    """
    scalars = {
        "porosity": porosity(pores),
        "specific_surface": specific_surface(pores),
        "connectivity": connectivity(pores),
        "difference": difference(pores),
    }
    two_point = two_point_curves(pores)
    at_lags = {str(lag): _sorted(two_point[:, lag]) for lag in LAGS if lag < two_point.shape[1]}
    return {
        "n": len(pores),
        **{name: _describe_scalar(values) for name, values in scalars.items()},
        "two_point": {**_describe_curves(two_point), "values": at_lags},
        "lineal_path": _describe_curves(lineal_path(pores)),
    }


def _describe_scalar(values: Float[np.ndarray, " n"]) -> dict[str, Any]:
    quantiles = {f"{q:g}": float(np.quantile(values, q)) for q in QUANTILES}
    return {"mean": float(values.mean()), "std": float(values.std()), "quantiles": quantiles, "values": _sorted(values)}


def _describe_curves(curves: Float[np.ndarray, "n r"]) -> dict[str, Any]:
    lags = list(range(curves.shape[1]))
    return {"lags": lags, "mean": curves.mean(axis=0).tolist(), "std": curves.std(axis=0).tolist()}


def _sorted(values: Float[np.ndarray, " n"]) -> list[float]:
    """Six digits are far more than a distance between two distributions needs."""
    return [float(f"{value:.6g}") for value in np.sort(values)]
