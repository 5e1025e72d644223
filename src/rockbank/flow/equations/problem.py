"""A flow problem as the solvers see it: numbered cells, faces and perforations, and the numbers on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.equations.curves.cell_curves import CellCurves
from rockbank.flow.equations.fluid import Fluid, tensor_fields, with_fields
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.rock import Rock, pore_volume, require, transmissibility
from rockbank.flow.equations.wells import KINDS, Control, Schedule, Well, peaceman_index

BHP, RATE, OIL, WATER, SHUT = range(len(KINDS))
# What holds a well that may flow nothing but has cross-flow: its perforations give and take, together nothing.
CLOSED = len(KINDS)


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """What the cells hold.

    Attributes:
        pressure: of the oil, Pa; a number, or of the grid's shape (after an axis of members).
        saturation: of water, likewise; None is the curves' connate water.
    """

    pressure: float | Float[Tensor, "*b *shape"]
    saturation: float | Float[Tensor, "*b *shape"] | None = None


@dataclass(frozen=True, eq=False)
class Parameters:
    """What gradients are taken in; the residual is linear in the first five.

    Attributes:
        transmissibility: of the faces, m^3.
        pore_volume: of the cells at the reference pressure, m^3.
        well_index: of the perforations, m^3.
        targets: of the wells' controls in each report step, Pa or m^3/s (positive).
        limits: of the same, infinite where there is none.
        pressure: initial, of the oil, Pa.
        saturation: initial, of water.
        fluid: its numbers that are tensors.
    """

    transmissibility: Float[Tensor, "b f"]
    pore_volume: Float[Tensor, "b n"]
    well_index: Float[Tensor, "b p"]
    targets: Float[Tensor, "b t w"]
    limits: Float[Tensor, "b t w"]
    pressure: Float[Tensor, "b n"]
    saturation: Float[Tensor, "b n"]
    fluid: Float[Tensor, "b k"]

    @property
    def n_members(self) -> int:
        """How many there are."""
        return len(self.pressure)

    def tensors(self) -> tuple[Tensor, ...]:
        """All of them, in the order above."""
        return tuple(vars(self).values())

    def take(self, members: Sequence[int]) -> Parameters:
        """Those of some members."""
        at = list(members)
        if at == list(range(self.n_members)):
            return self
        return Parameters(**{name: tensor[at] for name, tensor in vars(self).items()})

    def detach(self) -> Parameters:
        """The same numbers, of which torch takes no gradients."""
        return Parameters(**{name: tensor.detach() for name, tensor in vars(self).items()})

    def member(self, i: int) -> Parameters:
        """Those of one member, as a batch of one."""
        return self.take([i])


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """Everything else: what is the same for all members.

    Attributes:
        grid: its `faces` are the rows of `Parameters.transmissibility`.
        fluid: water and oil; where a number of it is a tensor, the first member's.
        fluid_fields: those numbers by name, the columns of `Parameters.fluid`.
        rock_compressibility: 1/Pa; a number, or one for each cell.
        rock_reference: Pa; likewise.
        wells: in the order of every axis of wells.
        perforation_cell: the cell of each perforation.
        perforation_well: its well.
        is_injector: of each well.
        crosses: which wells may have cross-flow between their perforations.
        kinds: of each step and well, a place in wells.KINDS.
        has_limit: likewise.
        steps: lengths of the report steps, or of those that each is cut into beforehand, s.
        report: the report step of each.
    """

    grid: Grid
    fluid: Fluid
    fluid_fields: tuple[str, ...]
    rock_compressibility: float | Float[np.ndarray, " n"]
    rock_reference: float | Float[np.ndarray, " n"]
    wells: tuple[Well, ...]
    perforation_cell: Int[np.ndarray, " p"]
    perforation_well: Int[np.ndarray, " p"]
    is_injector: Bool[np.ndarray, " w"]
    crosses: Bool[np.ndarray, " w"]
    kinds: Int[np.ndarray, "t w"]
    has_limit: Bool[np.ndarray, "t w"]
    steps: Float[np.ndarray, " t"]
    report: Int[np.ndarray, " t"]

    @property
    def has_cross_flow(self) -> bool:
        """Whether any well may have it."""
        return bool(self.crosses.any())

    def fluid_of(self, parameters: Parameters) -> Fluid:
        """The fluid with the members' own numbers where they are parameters, as columns."""
        return with_fields(self.fluid, dict(zip(self.fluid_fields, parameters.fluid.T[..., None], strict=True)))


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
    targets = [_of_steps(of_well, "target", [control.target for control in of_well], rock) for of_well in controls]
    limits = [_of_steps(of_well, "limit", [_limit(well, control) for control in of_well], rock)
              for well, of_well in zip(wells, controls, strict=True)]  # fmt: skip
    of_fluid = tensor_fields(fluid)
    fields = _same_members([transmissibility(rock), pore_volume(rock), torch.cat(_same_members(indices), dim=1),
                            *(torch.stack(_same_members(of), dim=2) for of in (targets, limits)),
                            *_initial(rock, fluid, initial), _columns(of_fluid, rock)])  # fmt: skip
    parameters = Parameters(**dict(zip(Parameters.__dataclass_fields__, fields, strict=True)))
    problem = Problem(
        grid=grid,
        fluid=with_fields(fluid, {name: values.detach().flatten()[0].item() for name, values in of_fluid.items()}),
        fluid_fields=tuple(of_fluid),
        rock_compressibility=rock.compressibility,
        rock_reference=rock.reference_pressure,
        wells=tuple(wells),
        perforation_cell=np.concatenate(cells).astype(np.int64),
        perforation_well=np.repeat(np.arange(len(wells)), [len(of_well) for of_well in cells]),
        is_injector=np.array([well.kind == "injector" for well in wells]),
        crosses=np.array([well.cross_flow and len(well.cells) > 1 for well in wells]),
        kinds=np.array([[KINDS.index(control.kind) for control in of_well] for of_well in controls]).T,
        has_limit=np.array([[control.limit is not None for control in of_well] for of_well in controls]).T,
        steps=np.asarray(schedule.steps, dtype=float),
        report=np.arange(len(schedule.steps)),
    )
    return problem, parameters


def first_steps(problem: Problem, parameters: Parameters, n: int) -> tuple[Problem, Parameters]:
    """The same with the first n report steps only."""
    end = int(np.searchsorted(problem.report, n))
    several = {name: getattr(problem, name)[:end] for name in ("kinds", "has_limit", "steps", "report")}
    of_wells = {name: getattr(parameters, name)[:, :end] for name in ("targets", "limits")}
    return replace(problem, **several), replace(parameters, **of_wells)


def _index(rock: Rock, well: Well) -> Float[Tensor, "b p"]:
    if well.index is None:
        return peaceman_index(rock, well)
    return well.index.double().reshape(-1, len(well.cells)).to(rock.porosity.device)


def _of_steps(
    controls: Sequence[Control], name: str, given: Sequence[float | Tensor], rock: Rock
) -> Float[Tensor, "b t"]:
    """The controls' targets or limits, each in its own report step."""
    n_steps, expanded = len(controls), {}
    for control, raw in zip(controls, given, strict=True):
        value = torch.as_tensor(raw, dtype=torch.float64, device=rock.porosity.device)
        if value.ndim > 2 or (value.ndim and value.shape[-1] not in (1, n_steps)):
            raise InputError(f"control '{control.kind}': got {name}s of shape {tuple(value.shape)} for {n_steps} "
                             "steps; give one number, or one for each step, after one axis of members at "
                             "most")  # fmt: skip
        expanded[id(control)] = value.expand(*value.shape[:-1], n_steps).reshape(-1, n_steps)
    columns = [expanded[id(control)][:, i] for i, control in enumerate(controls)]
    return torch.stack(_same_members(columns), dim=1)


def _limit(well: Well, control: Control) -> float | Tensor:
    """Where the other quantity ends: infinite, or minus infinity for a producer's pressure, where nothing limits it."""
    if control.limit is not None:
        return control.limit
    return float("-inf") if well.kind == "producer" and control.kind != "bhp" else float("inf")


def _columns(of_fluid: Mapping[str, Tensor], rock: Rock) -> Float[Tensor, "b k"]:
    """The fluid's numbers that are tensors, side by side."""
    columns = []
    for name, values in of_fluid.items():
        if values.ndim > 1:
            raise InputError(f"fluid, {name}: got a tensor of shape {tuple(values.shape)}; give one number, or one for "
                             "each member")  # fmt: skip
        columns.append(values.reshape(-1, 1).to(rock.porosity.device).double())
    return (
        torch.cat(_same_members(columns), dim=1) if columns else torch.zeros(1, 0, device=rock.porosity.device).double()
    )


def _initial(rock: Rock, fluid: Fluid, initial: State) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n"]]:
    pressure = _field(rock, "pressure", initial.pressure)
    saturation = _connate(rock, fluid) if initial.saturation is None else _field(rock, "saturation", initial.saturation)
    require("initial pressure", pressure, (pressure >= 0) & pressure.isfinite(), "; give Pa, 0 or more, in every cell",
            grid=rock.grid)  # fmt: skip
    require("initial saturation", saturation, (saturation >= 0) & (saturation <= 1),
            "; give fractions of the pores, in [0, 1]", grid=rock.grid)  # fmt: skip
    return pressure, saturation


def _connate(rock: Rock, fluid: Fluid) -> Float[Tensor, "b n"]:
    connate = torch.as_tensor(fluid.curves.connate, dtype=torch.float64, device=rock.porosity.device)
    if isinstance(fluid.curves, CellCurves):
        return connate[None]
    return connate.reshape(-1, 1).expand(-1, rock.grid.n_cells)


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
        raise InputError(f"members: got {sorted(unequal | {n})} of rock, fluid, well indices, controls or initial "
                         "state; give one for all, or the same number of each")  # fmt: skip
    return [field.expand(n, *field.shape[1:]) for field in fields]
