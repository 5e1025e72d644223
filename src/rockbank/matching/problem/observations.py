"""What was measured at the wells, and where a run shows the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.simulate import Result
from rockbank.matching.problem.times import SAME_TIME

Quantity = Literal["bhp", "water_rate", "oil_rate"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """Measured values and how far to trust them, kept in the order of wells, quantities and times.

    So the order in which a file lists them changes nothing, perturbations included.

    Attributes:
        time: s.
        well: name of the well of each.
        quantity: of each: a bottom-hole pressure (Pa), or a surface rate into the reservoir (m^3/s, a producer's
            is negative).
        value: what was measured, SI.
        sigma: its standard deviation, SI.
    """

    time: Float[np.ndarray, " n"]
    well: tuple[str, ...]
    quantity: tuple[Quantity, ...]
    value: Float[np.ndarray, " n"]
    sigma: Float[np.ndarray, " n"]

    def __post_init__(self) -> None:
        for i in range(len(self.time)):
            if not (self.sigma[i] > 0 and np.isfinite(self.sigma[i])):
                raise InputError(f"{self.name(i)}: got standard deviation {self.sigma[i]:g}; it must be positive: say "
                                 "how far the measurement is to be trusted, or leave it out")  # fmt: skip
            if not np.isfinite(self.time[i]):
                raise InputError(f"{self.quantity[i]} of {self.well[i]}: got time {self.time[i]}; say when it was "
                                 "measured, or leave it out")  # fmt: skip
            if not np.isfinite(self.value[i]):
                raise InputError(f"{self.name(i)}: got {self.value[i]}; leave out what was not measured")
        keys = list(zip(self.well, self.quantity, self.time.tolist(), strict=True))
        twice = {key for key, n in Counter(keys).items() if n > 1}
        if twice:
            well, quantity, time = min(twice)
            raise InputError(f"{quantity} of {well} at {time / 86400:g} days is there twice; keep one")
        order = sorted(range(len(keys)), key=keys.__getitem__)
        for name in ("time", "value", "sigma"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=float)[order])
        for name in ("well", "quantity"):
            object.__setattr__(self, name, tuple(getattr(self, name)[i] for i in order))

    def __len__(self) -> int:
        """How many."""
        return len(self.time)

    def name(self, i: int) -> str:
        """The i-th in words."""
        return f"{self.quantity[i]} of {self.well[i]} at {self.time[i] / 86400:g} days"

    def require_within(self, steps: Sequence[float] | Float[np.ndarray, " t"], wells: Sequence[str]) -> None:
        """InputError naming the observation of no well, or not within the schedule."""
        end = float(np.sum(steps))
        for i, time in enumerate(self.time):
            if self.well[i] not in wells:
                raise InputError(f"{self.name(i)}: no such well; the case has {list(wells)}")
            if not 0 < time <= end * (1 + SAME_TIME):
                raise InputError(f"{self.name(i)}: lies outside the schedule of {end / 86400:g} days; leave it out, or "
                                 "give the schedule further steps")  # fmt: skip

    def until(self, end: float) -> Observations:
        """Those up to a time, s."""
        kept = np.flatnonzero(self.time <= end * (1 + SAME_TIME))
        return Observations(
            time=self.time[kept],
            well=tuple(self.well[i] for i in kept),
            quantity=tuple(self.quantity[i] for i in kept),
            value=self.value[kept],
            sigma=self.sigma[kept],
        )

    def places(self, steps: Sequence[float] | Float[np.ndarray, " t"], wells: Sequence[str]) -> Int[np.ndarray, "3 n"]:
        """Where each stands among a run's observables: quantity, report step and well.

        Raises:
            InputError: naming the observation of no well, or between the ends of the report steps, which `times.cut_at`
                makes one of.
        """
        self.require_within(steps, wells)
        ends = np.cumsum(steps)
        found = np.empty((3, len(self)), dtype=int)
        for i, time in enumerate(self.time):
            nearest = int(np.abs(ends - time).argmin())
            if abs(ends[nearest] - time) > SAME_TIME * ends[-1]:
                raise InputError(f"{self.name(i)}: no report step ends then, the nearest at {ends[nearest] / 86400:g} "
                                 f"of {ends[-1] / 86400:g} days; let a step of the schedule end there")  # fmt: skip
            found[:, i] = QUANTITIES.index(self.quantity[i]), nearest, list(wells).index(self.well[i])
        return found


def observables(result: Result, places: Int[np.ndarray, "3 n"]) -> Float[Tensor, "*b n"]:
    """What a run shows where there are observations."""
    of_all = torch.stack([result.bhp, result.water_rate, result.oil_rate], dim=-3)
    quantity, step, well = (torch.as_tensor(each) for each in places)
    return of_all[..., quantity, step, well]
