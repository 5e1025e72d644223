"""Observations in the wells' curves of a run or of a measured history, whatever their file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float

from rockbank.core.errors import InputError
from rockbank.flow.casefile.wells import Pressure, Rate
from rockbank.matching.io.nodata import read_nodata
from rockbank.matching.problem.observations import Observations, Quantity, joined

# Of one quantity of one well: times (s), values (SI), and their standard deviations where the file tells them.
Curve = tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"], Float[np.ndarray, " t"] | None]


@dataclass(frozen=True, kw_only=True)
class SigmaSection:
    """Standard deviation of each quantity, Pa and m^3/s, where the file tells none."""

    bhp: Pressure | None = None
    water_rate: Rate | None = None
    oil_rate: Rate | None = None

    def __post_init__(self) -> None:
        for name, sigma in vars(self).items():
            if sigma is not None and not sigma > 0:
                raise InputError(f"{name}: got standard deviation {sigma:g}; it must be positive: say how far the "
                                 "measurements are to be trusted, or leave them out of 'observed'")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class UnitsSection:
    """Unit of each quantity, and of the time, where the file itself tells none."""

    time: str | None = None
    bhp: str | None = None
    water_rate: str | None = None
    oil_rate: str | None = None


@dataclass(frozen=True, kw_only=True)
class CurvesSection:
    """What of a file's curves is observed, and how it is to be read.

    Attributes:
        observed: quantities of each well.
        sigma: of each quantity.
        names: what the file calls a well, a quantity or its dimension of time, where it is something else; a
            summary's vectors are such as "WOPRH", or "WWIRH WWPRH" of injectors and producers.
        units: where the file tells none.
        history: whether a summary's vectors are those of a history, such as WOPRH, where `names` says nothing; without
            `observed`, all of them are.
        nodata: numbers that stand for no measurement, in the file's own units; .nan is not a number.
    """

    observed: dict[str, tuple[Quantity, ...]] = field(default_factory=dict)
    sigma: SigmaSection = field(default_factory=SigmaSection)
    names: dict[str, str] = field(default_factory=dict)
    units: UnitsSection = field(default_factory=UnitsSection)
    history: bool = False
    nodata: Annotated[tuple[float, ...], read_nodata] = ()

    def pairs(self) -> Iterator[tuple[str, Quantity]]:
        """Wells and quantities that are observed."""
        for well, quantities in self.observed.items():
            for quantity in quantities:
                yield well, quantity

    def called(self, name: str) -> str:
        """What the file calls it."""
        return self.names.get(name, name)


def from_curves(curves: Mapping[tuple[str, Quantity], Curve], sigma: Mapping[Quantity, float]) -> Observations:
    """Every point of the curves of wells and quantities; a NaN is what was not measured.

    Raises:
        InputError: a quantity has no standard deviation, or two; or a curve nothing but NaN.
    """
    parts = []
    for (well, quantity), (time, value, error) in curves.items():
        if quantity not in sigma and error is None:
            raise InputError(
                f"sigma: has no '{quantity}', which is observed in {well}; say how far it is to be trusted"
            )
        if quantity in sigma and error is not None:
            raise InputError(f"sigma.{quantity}: the file has a standard error of its own for {well}; leave it out")
        deviation = np.full(len(value), sigma[quantity]) if error is None else error
        measured = ~np.isnan(value)
        if not measured.any():
            raise InputError(f"observed.{well}: {quantity} is not a number at any time; leave it out")
        n = int(measured.sum())
        parts.append(
            Observations(
                time=time[measured],
                well=(well,) * n,
                quantity=(quantity,) * n,
                value=value[measured],
                sigma=deviation[measured],
            )
        )
    return joined(parts)


def require_start(path: Path, found: datetime | None, start: datetime | None) -> None:
    """InputError where a file counts its times from another date than the case, if both are known."""
    if found is not None and start is not None and found != start:
        raise InputError(f"{path}: starts at {found.isoformat(' ')}, the case at {start.isoformat(' ')}; correct "
                         "'start' of the case, or take the file of this case")  # fmt: skip
