"""Hydrostatic equilibrium: pressures and saturations before any well flows."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from rockbank.core.errors import InputError
from rockbank.flow.equations.curves.cell_curves import CellCurves
from rockbank.flow.equations.curves.relperm import SaturationFunctions, SaturationTable
from rockbank.flow.equations.fluid import Fluid, Phase
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.problem import State

# Halvings of the bracket of a saturation: to round-off.
_N_HALVINGS = 60


def equilibrium(
    grid: Grid,
    fluid: Fluid,
    *,
    datum: float,
    pressure: float,
    contact: float,
    capillary_at_contact: float = 0.0,
    slices: int = 1,
) -> State:
    """The state in which nothing flows: each phase's pressure grows with depth by its own weight.

        dp_a/dz = g rho_a(p_a),   p_o - p_w = p_c(s)

    Pressure and saturation of a cell are the means of those at the centres of its slices. Without capillary pressure
    the water is connate above the contact, and all that the curves allow below it.

    Args:
        grid: gives the depths.
        fluid: gives densities, gravity and capillary pressure.
        datum: depth of `pressure`, m; above the contact the pressure is the oil's, below it the water's.
        pressure: Pa.
        contact: depth at which oil and water touch, m.
        capillary_at_contact: oil pressure minus water pressure there, Pa.
        slices: of equal height into which a cell is cut; 1 takes its centre, at which nothing flows exactly.

    Raises:
        InputError: there is no slice.
    """
    if slices < 1:
        raise InputError(f"equilibrium: got {slices} slices of a cell; give 1, its centre, or more")
    within = (np.arange(slices) + 0.5) / slices - 0.5
    depth, g = grid.depth + within[:, None] * grid.cell_sizes[2], fluid.gravity
    if datum <= contact:
        oil = _column(fluid.oil, g, datum, pressure, depth)
        at_contact = _column(fluid.oil, g, datum, pressure, np.array([contact]))[0] - capillary_at_contact
        water = _column(fluid.water, g, contact, at_contact, depth)
    else:
        water = _column(fluid.water, g, datum, pressure, depth)
        at_contact = _column(fluid.water, g, datum, pressure, np.array([contact]))[0] + capillary_at_contact
        oil = _column(fluid.oil, g, contact, at_contact, depth)
    curves = fluid.curves
    most = curves.most if isinstance(curves, CellCurves) else (
        curves.saturation[-1] if isinstance(curves, SaturationTable) else 1.0)  # fmt: skip
    if curves.has_capillary_pressure:
        saturation = _saturation(curves, oil - water, most)
        p_c = curves.capillary(torch.as_tensor(saturation))[0].numpy()
    else:
        saturation = np.where(depth > contact, most, curves.connate)
        p_c = np.zeros_like(depth)
    # Where there is no oil to hold the balance, water does.
    p = np.where(oil - water >= p_c, oil, water + p_c)
    p, saturation = p.mean(axis=0), saturation.mean(axis=0)
    return State(pressure=_spread(grid, p), saturation=_spread(grid, saturation))


def _column(phase: Phase, g: float, z0: float, p0: float, z: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Pressure at depths z of a liquid at rest with p0 at z0: of the integral of dp/dz = g rho b(p)."""
    return phase.at_rest(p0, g * float(phase.density) * (z - z0))


def _saturation(
    curves: SaturationFunctions, p_c: Float[np.ndarray, "*b n"], most: float | Float[np.ndarray, " n"]
) -> Float[np.ndarray, "*b n"]:
    """Where the falling curve of capillary pressure takes the values p_c, by bisection; its ends outside."""
    low, high = (np.broadcast_to(of, p_c.shape).astype(float) for of in (np.asarray(curves.connate), np.asarray(most)))
    for _ in range(_N_HALVINGS):
        middle = (low + high) / 2
        above = curves.capillary(torch.as_tensor(middle))[0].numpy() > p_c
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray(high)


def _spread(grid: Grid, values: Float[np.ndarray, " n"]) -> Float[torch.Tensor, "*shape"]:
    """Values of the active cells on the whole box; the others hold the first one."""
    box = np.full(grid.is_active.size, values[0])
    box[grid.cells] = values
    return torch.as_tensor(box.reshape(grid.shape))
