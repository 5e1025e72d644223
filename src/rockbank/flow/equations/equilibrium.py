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
# Pa, of a capillary pressure that can be scaled, as in OPM Flow.
_LEAST_CAPILLARY = 1.0


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
    depth = _depths(grid, slices)
    oil, water = _columns(grid, fluid, datum, pressure, contact, capillary_at_contact, slices)
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


def equilibrium_of_water(
    grid: Grid,
    fluid: Fluid,
    *,
    datum: float,
    pressure: float,
    contact: float,
    capillary_at_contact: float = 0.0,
    saturation: Float[np.ndarray, " n"],
) -> tuple[State, Float[np.ndarray, " n"]]:
    """The state in which nothing flows and cells hold given water (Eclipse's SWATINIT), at their centres.

    The capillary pressure of each is scaled until the two phases' pressures differ by it at that water. Where water
    presses more than oil, or no capillary pressure is left at it, there is what `equilibrium` has, or the given water.

    Args:
        grid: see equilibrium.
        fluid: of `CellCurves` with end points.
        datum: see equilibrium.
        pressure: likewise.
        contact: likewise.
        capillary_at_contact: likewise.
        saturation: of water in the active cells; NaN is what `equilibrium` has.

    Returns:
        The state, and the capillary pressure of each cell at its connate water (`EndPoints.p_capillary`), Pa.

    Raises:
        InputError: the curves have no end points of cells.
    """
    curves = fluid.curves
    if not isinstance(curves, CellCurves) or curves.ends is None:
        raise InputError("equilibrium: given water needs curves with end points of cells; give CellCurves with ends")
    oil, water = (of[0] for of in _columns(grid, fluid, datum, pressure, contact, capillary_at_contact, 1))
    free = equilibrium(grid, fluid, datum=datum, pressure=pressure, contact=contact,
                       capillary_at_contact=capillary_at_contact)  # fmt: skip
    s, p_c = np.clip(saturation, curves.connate, curves.most), oil - water
    own = curves.capillary(torch.as_tensor(np.nan_to_num(s)))[0].numpy()
    is_given = ~np.isnan(s) & (p_c >= 0) & ~curves.is_flat
    is_scaled = is_given & (own > _LEAST_CAPILLARY)
    factor = np.where(is_scaled, p_c / np.where(is_scaled, own, 1.0), 1.0)
    p, s_free = (torch.as_tensor(of).reshape(-1).numpy()[grid.cells] for of in (free.pressure, free.saturation))
    state = State(
        pressure=_spread(grid, np.where(is_given, oil, p)), saturation=_spread(grid, np.where(is_given, s, s_free))
    )
    return state, curves.ends.p_capillary * factor


def _depths(grid: Grid, slices: int) -> Float[np.ndarray, "slices n"]:
    within = (np.arange(slices) + 0.5) / slices - 0.5
    return np.asarray(grid.depth + within[:, None] * grid.cell_sizes[2])


def _columns(
    grid: Grid,
    fluid: Fluid,
    datum: float,
    pressure: float,
    contact: float,
    capillary_at_contact: float,
    slices: int,
) -> tuple[Float[np.ndarray, "slices n"], Float[np.ndarray, "slices n"]]:
    """Pressures of oil and water at rest in the slices of the cells."""
    depth, g = _depths(grid, slices), fluid.gravity
    if datum <= contact:
        oil = _column(fluid.oil, g, datum, pressure, depth)
        at_contact = _column(fluid.oil, g, datum, pressure, np.array([contact]))[0] - capillary_at_contact
        water = _column(fluid.water, g, contact, at_contact, depth)
    else:
        water = _column(fluid.water, g, datum, pressure, depth)
        at_contact = _column(fluid.water, g, datum, pressure, np.array([contact]))[0] + capillary_at_contact
        oil = _column(fluid.oil, g, contact, at_contact, depth)
    return oil, water


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
