"""A small reservoir in all the variants that the equations know."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from rockbank.flow import (
    GRAVITY,
    CellStates,
    Control,
    Fluid,
    Grid,
    Options,
    Phase,
    Result,
    Rock,
    Schedule,
    State,
    Well,
    simulate,
)
from rockbank.flow.equations.curves.cell_curves import CellCurves, EndPoints
from rockbank.flow.equations.curves.pressure_table import PressureTable
from rockbank.flow.equations.fluid import LiquidRegions
from tests.flow.saturation_functions import COREY, SCALED, TABLE

# Far below what is compared, so that differences are not the iteration's.
TIGHT = Options(method="newton", solver="direct", cnv=1e-11, mb=1e-13)


@dataclass(kw_only=True)
class Reservoir:
    """A few cells, an injector of two perforations at one end and a producer in the corner at the other."""

    permeability: torch.Tensor
    porosity: torch.Tensor
    grid: Grid
    fluid: Fluid
    rock_compressibility: float
    steps: Sequence[float]
    controls: Mapping[str, Control | Sequence[Control]]
    index: Mapping[str, torch.Tensor | None]
    saturation: float | torch.Tensor

    def rock(self, permeability: torch.Tensor | None = None, porosity: torch.Tensor | None = None) -> Rock:
        """Its own, or with other numbers."""
        return Rock(
            grid=self.grid,
            permeability=self.permeability if permeability is None else permeability,
            porosity=self.porosity if porosity is None else porosity,
            compressibility=self.rock_compressibility,
        )

    def wells(self, index: Mapping[str, torch.Tensor | None] | None = None) -> list[Well]:
        """I and P."""
        nx, ny, *rest = self.grid.shape
        index, layer = self.index if index is None else index, (0,) * len(rest)
        places = {"I": [(0, 0, *layer), (0, 1, *layer)], "P": [(nx - 1, ny - 1, *layer)]}
        kinds = {"I": "injector", "P": "producer"}
        return [Well(name=name, kind=kinds[name], cells=places[name], index=index.get(name)) for name in places]

    def run(
        self,
        *,
        rock: Rock | None = None,
        index: Mapping[str, torch.Tensor | None] | None = None,
        controls: Mapping[str, Control | Sequence[Control]] | None = None,
        initial: State | None = None,
        states: CellStates | None = None,
        options: Options = TIGHT,
        workers: int = 1,
        progress: Callable[[int], None] | None = None,
    ) -> Result:
        """Through its schedule."""
        schedule = Schedule(steps=self.steps, controls=controls or self.controls)
        initial = initial or State(pressure=1.2e7, saturation=self.saturation)
        return simulate(
            rock or self.rock(),
            self.fluid,
            self.wells(index),
            schedule,
            initial=initial,
            states=states,
            options=options,
            workers=workers,
            progress=progress,
        )


PRESSURES = PressureTable(pressure=(0.9e7, 1.15e7, 1.4e7), b=(0.9, 0.92, 0.95), per_viscosity=(420.0, 440.0, 470.0))


def liquids(kind: str, n: int, water: Phase, oil: Phase) -> dict[str, Any]:
    """Those of constant compressibility and viscosity, or other ones; `regions` has all of them in turn."""
    changing = replace(water, viscosibility=3e-8, viscosity_pressure=1.1e7)
    tabled = replace(oil, table=PRESSURES)
    if kind == "regions":
        others = LiquidRegions(liquids=((changing, oil), (water, tabled)), region=np.arange(n) % 3)
        return {"water": water, "oil": oil, "regions": others}
    return {"water": changing if kind == "changing" else water, "oil": tabled if kind == "tabled" else oil}


def of_cells(n: int, *, three_points: bool) -> CellCurves:
    """Two tables in turn, with end points that no two cells share."""
    tables = (SCALED, replace(SCALED, saturation=tuple(0.9 * s + 0.05 for s in SCALED.saturation)))
    region, x = np.arange(n) % 2, np.arange(n) / n
    ends = EndPoints(
        connate=0.1 + 0.05 * x, critical=0.2 + 0.05 * x, most=0.9 - 0.05 * x, residual_oil=0.2 + 0.05 * x,
        k_water=0.8 + 0.1 * x, k_water_residual=0.5 + 0.1 * x, k_oil=0.9 - 0.1 * x, k_oil_critical=0.6 - 0.1 * x,
        p_capillary=2e4 * (1 + x),
    )  # fmt: skip
    return CellCurves(tables=tables, region=region, ends=ends, three_points=three_points,
                      scales_residual=(three_points, three_points))  # fmt: skip


CURVES = {"corey": COREY, "capillary": replace(COREY, entry_pressure=2e4), "table": TABLE}


def reservoir(
    *,
    shape: tuple[int, ...] = (4, 3),
    compressible: bool = False,
    gravity: bool = False,
    curves: str = "corey",
    liquid: str = "",
    steps: Sequence[float] = (2e5, 4e5, 8e5),
    members: int = 0,
    saturation: float = 0.2,
    **controls: Control | Sequence[Control],
) -> Reservoir:
    """300 m^3 of pores, through which 17 m^3 a day flow unless the controls of I and P say otherwise."""
    generator = torch.Generator().manual_seed(1)
    whole = (members, *shape) if members else shape
    c = 1e-9 if compressible else 0.0
    return Reservoir(
        permeability=1e-13 * (0.2 + torch.rand(whole, generator=generator, dtype=torch.float64)),
        porosity=0.2 + 0.1 * torch.rand(whole, generator=generator, dtype=torch.float64),
        grid=Grid(shape=shape, spacing=(10.0, 10.0, 5.0), top=1000.0),
        fluid=Fluid(
            **liquids(
                liquid,
                math.prod(shape),
                Phase(viscosity=5e-4, density=1000.0, compressibility=c),
                Phase(viscosity=2e-3, density=800.0, compressibility=2 * c),
            ),
            curves=CURVES[curves]
            if curves in CURVES
            else of_cells(math.prod(shape), three_points=curves == "crossing"),
            gravity=GRAVITY if gravity else 0.0,
        ),
        rock_compressibility=c,
        steps=steps,
        controls={"I": Control(kind="rate", target=2e-4), "P": Control(kind="bhp", target=1e7)} | controls,
        index={},
        saturation=saturation,
    )


@pytest.fixture(name="reservoir", scope="session")
def reservoir_fixture() -> Callable[..., Reservoir]:
    """Makes a small reservoir; keywords as those of `reservoir`."""
    return reservoir


@pytest.fixture(scope="session")
def tight() -> Options:
    """Newton, converged to round-off."""
    return TIGHT


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other take nine times as long on a few cells, where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
