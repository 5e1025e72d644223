"""Sections of a case file: grid, rock, fluid and initial state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from rockbank.core.errors import InputError
from rockbank.flow.casefile.fields import FieldOf, FieldSource
from rockbank.flow.casefile.synthetic import synthetic_channels, synthetic_layers
from rockbank.flow.casefile.wells import Cells, read_cells
from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey, SaturationFunctions, SaturationTable
from rockbank.flow.equations.equilibrium import equilibrium
from rockbank.flow.equations.fluid import GRAVITY, Fluid, Phase
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.problem import State
from rockbank.flow.equations.rock import REFERENCE_PRESSURE, Rock, require
from rockbank.flow.units import Quantity

Length = Annotated[float, Quantity("length")]
Pressure = Annotated[float, Quantity("pressure")]
Permeability = Annotated[float, Quantity("permeability")]
Viscosity = Annotated[float, Quantity("viscosity")]
Density = Annotated[float, Quantity("density")]
Compressibility = Annotated[float, Quantity("compressibility")]
Fraction = Annotated[float, Quantity("fraction")]


def _numbers(read: Quantity) -> Callable[[Any], float | tuple[float, ...]]:
    """Reads a number, or a list of them."""
    return lambda raw: tuple(read(each) for each in raw) if isinstance(raw, list) else read(raw)


def read_gravity(raw: Any) -> float:
    """true is the Earth's, false is none; or a number."""
    return (GRAVITY if raw else 0.0) if isinstance(raw, bool) else Quantity("acceleration")(raw)


def _permeability(raw: Any) -> tuple[FieldSource, ...]:
    """One field, or {x, y, z} of them."""
    read = FieldOf("permeability")
    if isinstance(raw, Mapping) and set(raw) == {"x", "y", "z"}:
        return tuple(read(raw[axis]) for axis in "xyz")
    return (read(raw),)


@dataclass(frozen=True, kw_only=True)
class GridSection:
    """See Grid; `inactive` lists cells to switch off, `active` is a field whose zeros are."""

    shape: tuple[int, ...]
    spacing: tuple[Annotated[Any, _numbers(Quantity("length"))], ...]
    top: Length = Grid.top
    active: Annotated[FieldSource, FieldOf("fraction")] | None = None
    inactive: Annotated[Cells, read_cells] = ()

    def build(self, folder: Path) -> Grid:
        """The grid; InputError where a cell is outside."""
        whole = Grid(shape=self.shape, spacing=self.spacing, top=self.top)
        is_active = np.ones(self.shape, dtype=bool) if self.active is None else self.active.on(whole, folder) != 0
        for place in self.inactive:
            whole.cell(place)
            is_active[place] = False
        if is_active.all():
            return whole
        return Grid(shape=self.shape, spacing=self.spacing, top=self.top, active=is_active)


@dataclass(frozen=True, kw_only=True)
class ChannelsSection:
    """See synthetic_channels."""

    seed: int
    sand_proportion: Fraction = 0.5


@dataclass(frozen=True, kw_only=True)
class LayersSection:
    """See synthetic_layers; `vertical` is the permeability along z by that along x and y."""

    seed: int
    permeability: Permeability
    log_deviation: float
    lengths: tuple[float, ...]
    porosity: Fraction
    porosity_deviation: Fraction = 0.0
    vertical: Fraction = 1.0


@dataclass(frozen=True, kw_only=True)
class RockSection:
    """See Rock; permeability and porosity, or a law of both."""

    permeability: Annotated[tuple[FieldSource, ...], _permeability] | None = None
    porosity: Annotated[FieldSource, FieldOf("fraction")] | None = None
    channels: ChannelsSection | None = None
    layers: LayersSection | None = None
    compressibility: Compressibility = 0.0
    reference_pressure: Pressure = REFERENCE_PRESSURE

    def __post_init__(self) -> None:
        given = [name for name in ("permeability", "porosity", "channels", "layers") if getattr(self, name) is not None]
        if given not in (["permeability", "porosity"], ["channels"], ["layers"]):
            raise InputError(f"permeability: got {given}; give permeability and porosity, or channels, or layers")

    def build(self, grid: Grid, folder: Path) -> Rock:
        """The rock on its grid."""
        k, phi = self._fields(grid, folder)
        components = [torch.as_tensor(each) for each in k]
        return Rock(
            grid=grid,
            permeability=components[0] if len(components) == 1 else components,
            porosity=torch.as_tensor(phi),
            compressibility=self.compressibility,
            reference_pressure=self.reference_pressure,
        )

    def _fields(self, grid: Grid, folder: Path) -> tuple[list[np.ndarray], np.ndarray]:
        if self.channels is not None:
            k, phi = synthetic_channels(self.channels.seed, self.channels.sand_proportion)
            return [k], phi
        if (law := self.layers) is not None:
            k, phi = synthetic_layers(
                grid.shape,
                law.seed,
                permeability=law.permeability,
                log_deviation=law.log_deviation,
                lengths=law.lengths,
                porosity=law.porosity,
                porosity_deviation=law.porosity_deviation,
            )
            return ([k] if law.vertical == 1 else [k, k, law.vertical * k]), phi
        assert self.permeability is not None
        assert self.porosity is not None
        return [each.on(grid, folder) for each in self.permeability], self.porosity.on(grid, folder)


@dataclass(frozen=True, kw_only=True)
class PhaseSection:
    """See Phase."""

    viscosity: Viscosity
    density: Density
    compressibility: Compressibility = float(Phase.compressibility)
    reference_pressure: Pressure = Phase.reference_pressure

    def build(self) -> Phase:
        """The phase."""
        return Phase(**vars(self))


@dataclass(frozen=True, kw_only=True)
class CoreySection:
    """See Corey."""

    residual: Fraction
    span: Fraction
    exponent: float = float(Corey.exponent)
    end: Fraction = float(Corey.end)


@dataclass(frozen=True, kw_only=True)
class CapillarySection:
    """See BrooksCorey."""

    entry_pressure: Pressure
    pore_index: float = BrooksCorey.pore_index
    floor: Fraction = BrooksCorey.floor


@dataclass(frozen=True, kw_only=True)
class CurvesSection:
    """Brooks and Corey's curves of water and oil."""

    water: CoreySection
    oil: CoreySection
    capillary_pressure: CapillarySection | None = None

    def build(self) -> BrooksCorey:
        """The curves."""
        capillary = {} if self.capillary_pressure is None else vars(self.capillary_pressure)
        return BrooksCorey(
            water_curve=Corey(**vars(self.water)),
            oil_curve=Corey(**vars(self.oil)),
            **capillary,
        )


@dataclass(frozen=True, kw_only=True)
class TableSection:
    """See SaturationTable; without capillary pressure there is none."""

    saturation: tuple[Fraction, ...]
    k_water: tuple[Fraction, ...]
    k_oil: tuple[Fraction, ...]
    p_capillary: tuple[Pressure, ...] | None = None

    def build(self) -> SaturationTable:
        """The table."""
        return SaturationTable(
            saturation=self.saturation,
            k_water=self.k_water,
            k_oil=self.k_oil,
            p_capillary=self.p_capillary or (0.0,) * len(self.saturation),
        )


@dataclass(frozen=True, kw_only=True)
class FluidSection:
    """See Fluid; the curves are a law's or a table."""

    water: PhaseSection
    oil: PhaseSection
    curves: CurvesSection | None = None
    table: TableSection | None = None
    gravity: Annotated[float, read_gravity] = Fluid.gravity

    def __post_init__(self) -> None:
        if (self.curves is None) == (self.table is None):
            raise InputError("curves: give either 'curves' or 'table'")

    def build(self) -> Fluid:
        """The fluids."""
        source = self.curves or self.table
        assert source is not None
        curves: SaturationFunctions = source.build()
        return Fluid(water=self.water.build(), oil=self.oil.build(), curves=curves, gravity=self.gravity)


@dataclass(frozen=True, kw_only=True)
class EquilibriumSection:
    """See equilibrium."""

    datum: Length
    pressure: Pressure
    contact: Length
    capillary_at_contact: Pressure = 0.0
    slices: int = 1


@dataclass(frozen=True, kw_only=True)
class InitialSection:
    """See State: a pressure and a saturation, or the hydrostatic equilibrium."""

    pressure: Annotated[FieldSource, FieldOf("pressure")] | None = None
    saturation: Annotated[FieldSource, FieldOf("fraction")] | None = None
    equilibrium: EquilibriumSection | None = None

    def __post_init__(self) -> None:
        if (self.pressure is None) == (self.equilibrium is None):
            raise InputError("pressure: give either 'pressure' or 'equilibrium'")
        if self.equilibrium is not None and self.saturation is not None:
            raise InputError("saturation: is the equilibrium's; leave it out")

    def build(self, grid: Grid, fluid: Fluid, folder: Path) -> State:
        """The state."""
        if self.equilibrium is not None:
            return equilibrium(grid, fluid, **vars(self.equilibrium))
        assert self.pressure is not None
        saturation = None if self.saturation is None else torch.as_tensor(self.saturation.on(grid, folder))
        pressure = self.pressure.on(grid, folder)
        known = torch.as_tensor(pressure[grid.is_active.reshape(grid.shape)])
        require("pressure", known, (known > 0) & known.isfinite(), "; it must be positive, in Pa", grid)
        return State(pressure=torch.as_tensor(pressure), saturation=saturation)
