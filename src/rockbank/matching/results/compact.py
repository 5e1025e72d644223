"""The dataset of a run in as little room as its reports allow, to be kept in place of the members' checkpoints."""

from __future__ import annotations

import numpy as np
import xarray as xr

from rockbank.matching.results.diagnostics import ensembles, has, norm_squared_history, unseen_cells

# Facies are steps of 1 / 253, of which none is 0.5: what is sand stays sand. One byte more says that nothing is known.
N_LEVELS = 253
_MISSING = 255
_FACIES = ("facies", "facies_path", "interpolation_facies")
# Of pictures, whose lines are thicker. Oil volumes, and oil rates where there are none, are a table's, and stay as they
# are.
_SINGLE = ("bhp", "water_rate", "simulated")
# What the latents and the parameters give again, and no report reads, where there are facies.
_LEFT_OUT = ("permeability", "porosity")
# Of the 52 binary digits of a permeability those that a picture shows: a hundredth of it.
_N_BITS = 6


def compact(dataset: xr.Dataset) -> xr.Dataset:
    """A dataset from which the same tables are made as from `dataset`, and the same pictures to the eye.

    Facies are rounded to 253 steps, so that unseen_cells counts what is lost at the wells; bottom-hole pressures, water
    rates and simulated observations to single precision. Permeability and porosity are left out; where there are no
    facies, permeability is rounded to a hundredth of itself. Of the latents on the
    way those are kept at which a Jacobian was made, and of all |z|^2 in history_norm_squared.
    """
    unseen = np.stack([unseen_cells(dataset, name) for name in ensembles(dataset)])
    meaning = "wells' cells of the wrong facies, so certain that the objective is flat there"
    dataset = dataset.assign(unseen_cells=(("ensemble", "member"), unseen, {"units": "1", "long_name": meaning}))
    if has(dataset, "z_path"):
        dataset = _without_histories(dataset)
    rounded = {name: _in_levels(dataset[name]) for name in _FACIES if name in dataset}
    rounded |= {name: _in_single_precision(dataset[name]) for name in _SINGLE if name in dataset}
    left_out = [name for name in _LEFT_OUT if has(dataset, "facies") or name != "permeability"]
    if not has(dataset, "facies"):
        of_rock = ("permeability", "truth_permeability")
        rounded |= {name: _in_few_bits(dataset[name]) for name in of_rock if name in dataset}
    return dataset.assign(rounded).drop_vars(left_out, errors="ignore")


def _without_histories(dataset: xr.Dataset) -> xr.Dataset:
    norms = {"units": "1", "long_name": "|z|^2 after each iteration"}
    dataset = dataset.assign(
        history_norm_squared=(("member", "iterate"), norm_squared_history(dataset), norms),
    )
    # Results of before have no such counts.
    counts = [dataset[name] for name in ("cost_jacobians", "cost_reduced") if name in dataset]
    n_jacobians = sum(counts, xr.zeros_like(dataset.history_flow))
    is_start = n_jacobians.shift(iterate=-1) > n_jacobians
    if not is_start.any():
        return dataset.drop_vars("z_path")
    kept = dataset.z_path.where(is_start)
    kept.attrs = {"units": "1", "long_name": "latent after each iteration at which a Jacobian was made"}
    return dataset.assign(z_path=kept)


def _in_levels(facies: xr.DataArray) -> xr.DataArray:
    """Rounded, and half a step down, since 0.5 is no sand."""
    step = 1 / N_LEVELS
    rounded = facies.copy(data=np.ceil(N_LEVELS * facies.values - 0.5) * step)
    rounded.encoding = {"dtype": "uint8", "scale_factor": step, "_FillValue": _MISSING}
    return rounded


def _in_few_bits(values: xr.DataArray) -> xr.DataArray:
    """Rounded to a few binary digits, whose file is small."""
    mantissa, exponent = np.frexp(values.values)
    few = np.ldexp(np.round(mantissa * 2.0**_N_BITS), exponent - _N_BITS)
    rounded = values.copy(data=few)
    rounded.encoding = {"dtype": "float32"}
    return rounded


def _in_single_precision(values: xr.DataArray) -> xr.DataArray:
    rounded = values.copy(data=values.values.astype(np.float32).astype(float))
    rounded.encoding = {"dtype": "float32"}
    return rounded
