"""A flow problem as the solvers see it: numbered cells, faces and perforations, and the numbers on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.equations.fluid import Fluid
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.rock import Rock, pore_volume, require, transmissibility
from rockbank.flow.equations.wells import KINDS, Control, Schedule, Well, peaceman_index

BHP, RATE, OIL, WATER, SHUT = range(len(KINDS))


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """What the cells hold.

    Attributes:
        pressure: of the oil, Pa; a number, or of the grid's shape (after an axis of members).
        saturation: of water, likewise; None is the curves' connate water.
    """

    pressure: float | Float[Tensor, "*b *shape"]
    saturation: float | Float[Tensor, "*b *shape"] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Parameters:
    """What gradients are taken in; the residual is linear in the first three and in `targets`.

    Attributes:
        transmissibility: of the faces, m^3.
        pore_volume: of the cells at the reference pressure, m^3.
        well_index: of the perforations, m^3.
        targets: of the wells' controls in each report step, Pa or m^3/s (positive).
    """

    transmissibility: Float[Tensor, "b f"]
    pore_volume: Float[Tensor, "b n"]
    well_index: Float[Tensor, "b p"]
    targets: Float[Tensor, "b t w"]

    def take(self, members: Sequence[int]) -> Parameters:
        """Those of some members."""
        at = list(members)
        return Parameters(
            transmissibility=self.transmissibility[at],
            pore_volume=self.pore_volume[at],
            well_index=self.well_index[at],
            targets=self.targets[at],
        )

    def detach(self) -> Parameters:
        """The same numbers, of which torch takes no gradients."""
        return Parameters(**{name: tensor.detach() for name, tensor in vars(self).items()})

    def member(self, i: int) -> Parameters:
        """Those of one member, as a batch of one."""
        return self.take([i])


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """Everything else: what is the same for all members but the initial state.

    Attributes:
        grid: its `faces` are the rows of `Parameters.transmissibility`.
        fluid: water and oil.
        rock_compressibility: 1/Pa.
        rock_reference: Pa.
        wells: in the order of every axis of wells.
        perforation_cell: the cell of each perforation.
        perforation_well: its well.
        perforation_head: pressure at the perforation minus the bottom-hole pressure, Pa.
        is_injector: of each well.
        kinds: of each step and well, a place in wells.KINDS.
        limits: likewise; infinite where there is none.
        steps: lengths of the report steps, s.
        pressure: initial, of the oil, Pa.
        saturation: initial, of water.
    """

    grid: Grid
    fluid: Fluid
    rock_compressibility: float
    rock_reference: float
    wells: tuple[Well, ...]
    perforation_cell: Int[np.ndarray, " p"]
    perforation_well: Int[np.ndarray, " p"]
    perforation_head: Float[np.ndarray, " p"]
    is_injector: Bool[np.ndarray, " w"]
    kinds: Int[np.ndarray, "t w"]
    limits: Float[np.ndarray, "t w"]
    steps: Float[np.ndarray, " t"]
    pressure: Float[Tensor, "b n"]
    saturation: Float[Tensor, "b n"]

    def member(self, i: int) -> Problem:
        """That of one member, as a batch of one."""
        return replace(self, pressure=self.pressure[i : i + 1], saturation=self.saturation[i : i + 1])


def discretise(
    rock: Rock, fluid: Fluid, wells: Sequence[Well], schedule: Schedule, initial: State
) -> tuple[Problem, Parameters]:
    """The numbered problem, and the parameters as differentiable functions of rock, well indices and controls."""
    if not wells:
        raise InputError("wells: got none; give one or more")
    names = [well.name for well in wells]
    if len(set(names)) != len(names):
        raise InputError(f"wells: got the names {names}; each well needs its own (two controls on one well follow "
                         "each other in its Schedule)")  # fmt: skip
    if set(schedule.controls) != set(names):
        raise InputError(f"schedule: controls wells {sorted(schedule.controls)}, but the wells are {sorted(names)}")
    grid = rock.grid
    cells = [well.perforations(grid) for well in wells]
    controls = [schedule.of(well.name) for well in wells]
    for well, of_well in zip(wells, controls, strict=True):
        wrong = [control.kind for control in of_well if control.kind in ("oil", "water")]
        if well.kind == "injector" and wrong:
            raise InputError(f"schedule: injector '{well.name}' is controlled by '{wrong[0]}'; use 'rate', 'bhp' or "
                             "'shut'")  # fmt: skip
    indices = [_index(rock, well) for well in wells]
    targets = [_targets(of_well, rock.porosity.device) for of_well in controls]
    fields = [transmissibility(rock), pore_volume(rock), torch.cat(_same_members(indices), dim=1),
              torch.stack(_same_members(targets), dim=2)]  # fmt: skip
    pressure, saturation = _initial(rock, fluid, initial)
    *fields, pressure, saturation = _same_members([*fields, pressure, saturation])
    parameters = Parameters(transmissibility=fields[0], pore_volume=fields[1], well_index=fields[2], targets=fields[3])
    problem = Problem(
        grid=grid,
        fluid=fluid,
        rock_compressibility=rock.compressibility,
        rock_reference=rock.reference_pressure,
        wells=tuple(wells),
        perforation_cell=np.concatenate(cells).astype(np.int64),
        perforation_well=np.repeat(np.arange(len(wells)), [len(of_well) for of_well in cells]),
        perforation_head=np.concatenate(
            [_head(grid, fluid, well, of_well) for well, of_well in zip(wells, cells, strict=True)]
        ),
        is_injector=np.array([well.kind == "injector" for well in wells]),
        kinds=np.array([[KINDS.index(control.kind) for control in of_well] for of_well in controls]).T,
        limits=np.array(
            [[_limit(well, control) for control in of_well] for well, of_well in zip(wells, controls, strict=True)]
        ).T,
        steps=np.asarray(schedule.steps, dtype=float),
        pressure=pressure.detach(),
        saturation=saturation.detach(),
    )
    return problem, parameters


def _index(rock: Rock, well: Well) -> Float[Tensor, "b p"]:
    if well.index is None:
        return peaceman_index(rock, well)
    return well.index.double().reshape(-1, len(well.cells)).to(rock.porosity.device)


def _targets(controls: Sequence[Control], device: torch.device) -> Float[Tensor, "b t"]:
    n_steps, expanded = len(controls), {}
    for control in controls:
        target = torch.as_tensor(control.target, dtype=torch.float64, device=device)
        if target.ndim > 2 or (target.ndim and target.shape[-1] not in (1, n_steps)):
            raise InputError(f"control '{control.kind}': got targets of shape {tuple(target.shape)} for {n_steps} "
                             "steps; give one number, or one for each step, after one axis of members at "
                             "most")  # fmt: skip
        expanded[id(control)] = target.expand(*target.shape[:-1], n_steps).reshape(-1, n_steps)
    columns = [expanded[id(control)][:, i] for i, control in enumerate(controls)]
    return torch.stack(_same_members(columns), dim=1)


def _limit(well: Well, control: Control) -> float:
    """Where the other quantity ends: infinite, or minus infinity for a producer's pressure, where nothing limits it."""
    if control.limit is not None:
        return control.limit
    return float("-inf") if well.kind == "producer" and control.kind != "bhp" else float("inf")


def _head(grid: Grid, fluid: Fluid, well: Well, cells: Sequence[int]) -> Float[np.ndarray, " p"]:
    depth = grid.depth[np.asarray(cells)]
    datum = depth[0] if well.datum is None else well.datum
    phase = fluid.water if well.kind == "injector" else fluid.oil
    density = phase.density if well.head_density is None else well.head_density
    return np.asarray(density * fluid.gravity * (depth - datum))


def _initial(rock: Rock, fluid: Fluid, initial: State) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n"]]:
    saturation = fluid.curves.connate if initial.saturation is None else initial.saturation
    pressure, saturation = _field(rock, "pressure", initial.pressure), _field(rock, "saturation", saturation)
    require("initial pressure", pressure, pressure.isfinite(), "; give Pa in every cell", grid=rock.grid)
    require("initial saturation", saturation, (saturation >= 0) & (saturation <= 1),
            "; give fractions of the pores, in [0, 1]", grid=rock.grid)  # fmt: skip
    return pressure, saturation


def _field(rock: Rock, name: str, value: float | Tensor) -> Float[Tensor, "b n"]:
    if not isinstance(value, Real | Tensor):
        raise InputError(f"initial {name}: got {type(value).__name__}; give a number or a torch tensor")
    if not isinstance(value, Tensor):
        return torch.full((1, rock.grid.n_cells), float(value), dtype=torch.float64, device=rock.porosity.device)
    lead = value.ndim - len(rock.grid.shape)
    if lead not in (0, 1) or tuple(value.shape[lead:]) != rock.grid.shape:
        raise InputError(f"initial {name}: got shape {tuple(value.shape)}; the grid has {rock.grid.shape}, "
                         "after one axis of members at most")  # fmt: skip
    return rock.flat(value.to(rock.porosity.device))


def _same_members(fields: Sequence[Tensor]) -> list[Tensor]:
    """The fields with their axis of members expanded to the longest."""
    n = max(len(field) for field in fields)
    unequal = {len(field) for field in fields} - {1, n}
    if unequal:
        raise InputError(f"members: got {sorted(unequal | {n})} of rock, well indices, controls or initial state; "
                         "give one for all, or the same number of each")  # fmt: skip
    return [field.expand(n, *field.shape[1:]) for field in fields]
