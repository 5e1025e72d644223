"""Wells: where they touch the rock, how well, and what holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.rock import Rock, require
from rockbank.flow.equations.trajectory import Trajectory

Kind = Literal["bhp", "rate", "oil", "water", "shut"]
KINDS: tuple[Kind, ...] = ("bhp", "rate", "oil", "water", "shut")


@dataclass(frozen=True, kw_only=True)
class Control:
    """What holds a well during a step, and the limit that takes over where it would be broken.

    Attributes:
        kind: "bhp" (bottom-hole pressure), "rate" (water into an injector, liquid out of a producer), "oil" or
            "water" (out of a producer), or "shut". Rates are at the reference pressures of the phases.
        target: Pa, or m^3/s as a positive number; a tensor, one number or one for each report step, after an
            axis of members where there are several, may require grad.
        limit: for a rate, the pressure (Pa) that an injector may not rise above and a producer may not fall
            below; for a pressure, the most that may flow (the injector's water, the producer's liquid, m^3/s). A tensor
            as the target's.

    Where nothing may flow, by a rate of 0 or a pressure with a most rate of 0, the well is shut or, where it has
    cross-flow, closed above its perforations.
    """

    kind: Kind
    target: float | Float[Tensor, "*b n"] = 0.0
    limit: float | Float[Tensor, "*b n"] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"control: got '{self.kind}'; known are {list(KINDS)}")
        for name, given, remedy in (
            ("target", self.target, " (an injector's and a producer's rates are both positive here)"),
            ("limit", self.limit, ", or None"),
        ):
            if given is None:
                continue
            if not isinstance(given, Real | Tensor):
                raise InputError(f"control '{self.kind}', {name}: got {type(given).__name__}; give a number or a torch "
                                 "tensor")  # fmt: skip
            value = torch.as_tensor(given)
            require(f"control '{self.kind}', {name}", value, (value >= 0) & value.isfinite(),
                    f"; give a number of at least 0{remedy}")  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Well:
    """One well and its perforations.

    Attributes:
        name: of the well.
        kind: an injector injects water, a producer takes what comes.
        cells: places of the perforated cells, as the grid counts them, from 0.
        axis: 0, 1 or 2: the bore runs along x, y or z.
        radius: of the bore, m.
        skin: dimensionless.
        index: of each perforation, m^3, after an axis of members where there are several; None is Peaceman's of
            the rock. It may require grad.
        datum: depth to which the bottom-hole pressure refers, m; None is that of the first perforation.
        head_density: kg/m^3 of what fills the bore between datum and perforations; None is that of the mixture that
            flows there, in place.
        cross_flow: whether a perforation may flow the other way than the well; else it is shut then.
    """

    name: str
    kind: Literal["injector", "producer"]
    cells: Sequence[tuple[int, ...]]
    axis: int = 2
    radius: float = 0.1
    skin: float = 0.0
    index: Float[Tensor, "*b p"] | None = None
    datum: float | None = None
    head_density: float | None = None
    cross_flow: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("injector", "producer"):
            raise InputError(f"well '{self.name}': got kind '{self.kind}'; it is an 'injector' or a 'producer'")
        if not self.cells or len({tuple(place) for place in self.cells}) != len(self.cells):
            raise InputError(f"well '{self.name}': got {len(self.cells)} perforations; give one or more, each once")
        if self.axis not in (0, 1, 2):
            raise InputError(f"well '{self.name}': got axis {self.axis}; 0, 1 or 2 is along x, y or z")
        if not self.radius > 0:
            raise InputError(f"well '{self.name}': got radius {self.radius} m; it must be positive")
        for name in ("skin", "datum", "head_density"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise InputError(f"well '{self.name}': got {name} {value}; give a finite number")
        if self.index is not None:
            if not isinstance(self.index, Tensor):
                raise InputError(f"well '{self.name}', index: got {type(self.index).__name__}; give a torch tensor, "
                                 "such as torch.from_numpy(array)")  # fmt: skip
            if self.index.ndim not in (1, 2) or self.index.shape[-1] != len(self.cells):
                raise InputError(f"well '{self.name}': got {tuple(self.index.shape)} well indices for "
                                 f"{len(self.cells)} perforations; give one each, after one axis of members at "
                                 "most")  # fmt: skip
            require(f"well '{self.name}', index", self.index, (self.index >= 0) & self.index.isfinite(),
                    " m^3; give 0 or more")  # fmt: skip

    def perforations(self, grid: Grid) -> list[int]:
        """Numbers of the perforated cells; InputError names the well whose place is outside."""
        try:
            return [grid.cell(place) for place in self.cells]
        except InputError as error:
            raise InputError(f"well '{self.name}': {error}") from error


def peaceman_index(rock: Rock, well: Well) -> Float[Tensor, "b p"]:
    """Peaceman's index of each perforation, m^3.

        WI = 2 pi h sqrt(k_u k_v) / (ln(r_e / r_w) + skin)
        r_e = 0.28 sqrt(sqrt(k_v / k_u) du^2 + sqrt(k_u / k_v) dv^2) / ((k_v / k_u)^(1/4) + (k_u / k_v)^(1/4))

    with u and v the axes across the bore, and h the cell's size along it (Peaceman 1983, eq. 16 and 19).
    """
    u, v = (axis for axis in range(3) if axis != well.axis)
    cells = well.perforations(rock.grid)
    k_u, k_v = rock.along(u)[:, cells], rock.along(v)[:, cells]
    is_dead = ((k_u <= 0) | (k_v <= 0)).any(dim=0)
    if bool(is_dead.any()):
        place = well.cells[int(torch.nonzero(is_dead)[0])]
        raise InputError(f"well '{well.name}': no permeability across its bore in cell {tuple(place)}; perforate cells "
                         "that have some, or give the well index")  # fmt: skip
    size = torch.as_tensor(rock.grid.cell_sizes[:, cells], device=k_u.device)
    ratio = (k_v / k_u).sqrt()
    r_e = 0.28 * (ratio * size[u] ** 2 + size[v] ** 2 / ratio).sqrt() / (ratio.sqrt() + 1 / ratio.sqrt())
    log = (r_e / well.radius).log() + well.skin
    if not bool((log > 0).all()):
        raise InputError(f"well '{well.name}': radius {well.radius} m and skin {well.skin} leave no positive well "
                         f"index; the cell's equivalent radius is {r_e.min().item():.3g} m")  # fmt: skip
    height = size[well.axis]
    if well.axis == 2 and rock.net_to_gross is not None:
        height = height * rock.net_to_gross.to(height)[..., cells]
    return 2 * math.pi * height * (k_u * k_v).sqrt() / log


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """The report steps, and what holds each well during them.

    Attributes:
        steps: length of each report step, s.
        controls: of each well by name; one for all steps, or one for each.
    """

    steps: Sequence[float]
    controls: Mapping[str, Control | Sequence[Control]]

    def __post_init__(self) -> None:
        steps = np.asarray(self.steps, dtype=float)
        wrong = steps[~((steps > 0) & np.isfinite(steps))]
        if steps.ndim != 1 or not steps.size or wrong.size:
            got = f"a step of {wrong[0]} s" if wrong.size else f"steps of shape {steps.shape}"
            raise InputError(f"schedule: got {got}; give one or more positive lengths, so that times increase")
        for name, controls in self.controls.items():
            if not isinstance(controls, Control) and len(controls) != steps.size:
                raise InputError(f"schedule: well '{name}' has {len(controls)} controls for {steps.size} steps; "
                                 "give one, or one for each")  # fmt: skip

    def of(self, name: str) -> list[Control]:
        """The controls of a well, one a step."""
        given = self.controls[name]
        return [given] * len(self.steps) if isinstance(given, Control) else list(given)

    def first(self, n: int) -> Schedule:
        """The first n report steps."""
        report = np.arange(n)
        controls = {name: [_at_reports(of, report, len(self.steps)) for of in self.of(name)[:n]]
                    for name in self.controls}  # fmt: skip
        return Schedule(steps=self.steps[:n], controls=controls)

    def as_taken(self, trajectory: Trajectory) -> Schedule:
        """The schedule whose report steps are those that a run took, cut ones included.

        An inversion that keeps to it, with `max_cuts=0`, has an objective that does not jump where the cuts would
        change with the parameters. `trajectory.ends` are the places of the given report steps' ends.
        """
        report = trajectory.report
        again = {id(control): _at_reports(control, report, len(self.steps))
                 for name in self.controls for control in self.of(name)}  # fmt: skip
        controls = {name: [again[id(self.of(name)[of])] for of in report] for name in self.controls}
        return Schedule(steps=list(trajectory.steps), controls=controls)


def _at_reports(control: Control, report: Int[np.ndarray, " m"], n_reports: int) -> Control:
    """The control with target and limit for each step taken, where it had one for each report step."""

    def taken(of: float | Tensor | None) -> float | Tensor | None:
        is_series = isinstance(of, Tensor) and of.ndim and of.shape[-1] == n_reports
        return of[..., torch.as_tensor(report)] if isinstance(of, Tensor) and is_series else of

    target = taken(control.target)
    return replace(control, target=0.0 if target is None else target, limit=taken(control.limit))
