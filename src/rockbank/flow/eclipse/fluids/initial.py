"""How a deck's run begins: EQUIL of each region of EQLNUM, or PRESSURE and SWAT cell by cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.fluids.liquids import Tables, table_of
from rockbank.flow.eclipse.grid.arrays import DeckArrays, places
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.eclipse.record import Record
from rockbank.flow.equations.curves.cell_curves import CellCurves
from rockbank.flow.equations.curves.relperm import SaturationFunctions
from rockbank.flow.equations.equilibrium import equilibrium, equilibrium_of_water
from rockbank.flow.equations.fluid import Fluid
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.problem import State

# Of EQUIL's item 9.
_SUBDIVISIONS = -5
# Saturations of a deck are rounded.
_FULL = 1e-4


def read_initial(
    tables: Tables,
    regions: Int[np.ndarray, " n"],
    arrays: DeckArrays,
    grid: Grid,
    fluid: Fluid,
    *,
    is_apart: Bool[np.ndarray, " n"],
) -> tuple[State, SaturationFunctions]:
    """The initial state, and the curves with the capillary pressures that hold it where SWATINIT is given.

    Args:
        tables: by keyword.
        regions: EQLNUM of the active cells, from 0.
        arrays: of which PRESSURE, SWAT and SOIL are taken where they are given.
        grid: of which the cells are.
        fluid: with gravity.
        is_apart: cells of which this state is not kept; their liquids may be others than those of their region.

    Raises:
        InputError: there is none, or two of them.
    """
    if any(name in arrays for name in ("PRESSURE", "SWAT", "SOIL")):
        if "EQUIL" in tables:
            raise tables["EQUIL"][0].error("PRESSURE, SWAT or SOIL is given too; keep one way to begin")
        if "SWATINIT" in arrays:
            raise DeckError(
                f"{arrays.place('SWATINIT')}: SWATINIT: PRESSURE, SWAT or SOIL is given too; it needs EQUIL"
            )
        state = State(
            pressure=_tensor(arrays.complete("PRESSURE", grid.is_active), grid),
            saturation=_tensor(_water_saturation(arrays, grid.is_active), grid),
        )
        return state, fluid.curves
    if "EQUIL" not in tables:
        raise InputError("the deck has no initial state; give EQUIL, or PRESSURE and SWAT")
    used, of_cells = np.unique(regions, return_inverse=True)
    water = arrays.raw("SWATINIT").ravel()[grid.cells] if "SWATINIT" in arrays else None
    states, capillary = [], []
    for i, region in enumerate(used):
        of_region = _of_region(tables, fluid, (of_cells == i) & ~is_apart, int(region))
        state, p_c = _equilibrium(tables, int(region), grid, of_region, water)
        states.append(state)
        capillary.append(p_c)
    at = np.zeros(grid.is_active.size, dtype=int)
    at[grid.cells] = of_cells
    places = torch.as_tensor(at)[None]

    def gathered(name: str) -> torch.Tensor:
        return torch.stack([getattr(of, name).ravel() for of in states]).gather(0, places).reshape(grid.shape)

    state = State(pressure=gathered("pressure"), saturation=gathered("saturation"))
    curves = fluid.curves
    if water is None or not isinstance(curves, CellCurves) or curves.ends is None:
        return state, curves
    if not curves.has_capillary_pressure:
        arrays.notes.append(f"{arrays.place('SWATINIT')}: SWATINIT: the curves have no capillary pressure to hold it; "
                            "it changes nothing")  # fmt: skip
    ends = replace(curves.ends, p_capillary=np.take_along_axis(np.stack(capillary), of_cells[None], axis=0)[0])
    return state, replace(curves, ends=ends)


def _of_region(tables: Tables, fluid: Fluid, is_within: np.ndarray, region: int) -> Fluid:
    """With the liquids of the region's cells everywhere."""
    if fluid.regions is None:
        return fluid
    liquids = np.unique(fluid.regions.region[is_within])
    if len(liquids) > 1:
        why = f"cells of region {region + 1} of EQLNUM are of several regions of PVTNUM; give each its own"
        raise table_of(tables, "EQUIL", region).error(why)
    water, oil = fluid.liquids[int(liquids[0]) if len(liquids) else 0]
    return replace(fluid, water=water, oil=oil, regions=None)


def _equilibrium(
    tables: Tables, region: int, grid: Grid, fluid: Fluid, water: Float[np.ndarray, " n"] | None
) -> tuple[State, Float[np.ndarray, " n"]]:
    """Of a record of EQUIL, and the capillary pressures at connate water that hold it; none where no water is given."""
    record = table_of(tables, "EQUIL", region)
    rest = {
        "datum": record.number(1, "length", 0.0),
        "pressure": record.number(2, "pressure"),
        "contact": record.number(3, "length", 0.0),
        "capillary_at_contact": record.number(4, "pressure", 0.0),
    }
    # What no fluid can be at such depths and pressures is reported below.
    with np.errstate(all="ignore"):
        if water is None:
            state, capillary = equilibrium(grid, fluid, **rest, slices=_slices(record)), np.empty(0)
        else:
            state, capillary = equilibrium_of_water(grid, fluid, **rest, saturation=water)
    if not bool(torch.isfinite(torch.as_tensor(state.pressure)).all()):
        raise record.error("gives no pressure at the depth of every cell; see items 1 to 4, and the fluids")
    return state, capillary


def _slices(record: Record) -> int:
    """EQUIL's item 9: 0 is a cell's centre, N in size a mean over 2 N slices, which lie flat in cells that do."""
    return max(2 * abs(record.whole(9, _SUBDIVISIONS)), 1)


def _water_saturation(arrays: DeckArrays, where: Bool[np.ndarray, "nx ny nz"]) -> Float[np.ndarray, "nx ny nz"]:
    """SWAT, or what SOIL leaves; DeckError where both are given and do not fill the pores."""
    if "SOIL" not in arrays:
        return arrays.complete("SWAT", where)
    rest = 1.0 - arrays.complete("SOIL", where)
    if "SWAT" not in arrays:
        return rest
    water = arrays.complete("SWAT", where)
    wrong = places(where & (np.abs(water - rest) > _FULL))
    if len(wrong):
        (i, j, k), at = wrong[0] + 1, tuple(wrong[0])
        raise DeckError(f"{arrays.place('SOIL')}: SOIL: got {1 - rest[at]:g} beside SWAT {water[at]:g} in cell "
                        f"({i}, {j}, {k}); together they must be 1")  # fmt: skip
    return water


def _tensor(field: np.ndarray, grid: Grid) -> torch.Tensor:
    return torch.tensor(field.reshape(grid.shape), dtype=torch.float64)
