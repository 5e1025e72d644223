"""Numbers of the relative permeabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.casefile.rock import CurvesSection
from rockbank.matching.io.parameters.prior import PriorSection
from rockbank.matching.problem.parameters.curves import CurveNumbers, Part, Phase

_PARTS: dict[str, tuple[Phase, Part]] = {
    "water.exponent": ("water", "exponent"),
    "water.end": ("water", "end"),
    "water.residual": ("water", "residual"),
    "oil.exponent": ("oil", "exponent"),
    "oil.end": ("oil", "end"),
    "oil.residual": ("oil", "residual"),
}


@dataclass(frozen=True, kw_only=True)
class CurveNumbersSection:
    """Exponents, end points and residual saturations of the relative permeabilities.

    Attributes:
        priors: of water.exponent, water.end, water.residual and the same of oil.
        law: the curves that they are of, in place of the case's, which may be a table.
    """

    priors: dict[str, PriorSection]
    law: CurvesSection | None = None

    def __post_init__(self) -> None:
        for name in self.priors:
            if name not in _PARTS:
                raise InputError(f"priors: unknown key '{name}'; known are {list(_PARTS)}")
        if not self.priors:
            raise InputError(f"priors: got none; give those of some of {list(_PARTS)}")

    def arrays(self, case: Case, folder: Path) -> tuple[np.ndarray, ...]:
        """None."""
        return ()

    def build(self, name: str, case: Case, arrays: Sequence[np.ndarray]) -> CurveNumbers:
        """The numbers."""
        return CurveNumbers(
            priors={f"{name}.{key}": prior.build() for key, prior in self.priors.items()},
            parts={f"{name}.{key}": _PARTS[key] for key in self.priors},
            law=None if self.law is None else self.law.build(),
        )
