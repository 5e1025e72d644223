"""The unknowns of a case, each by one kind of parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.matching.io.parameters.curves import CurveNumbersSection
from rockbank.matching.io.parameters.fields import EnsembleSection, GaussianSection
from rockbank.matching.io.parameters.images import ImagesSection
from rockbank.matching.io.parameters.multipliers import MultiplierSection
from rockbank.matching.problem.geology import RockGenerator
from rockbank.matching.problem.parameterisation import Parameterisation
from rockbank.matching.problem.parameters.joint import Joint


@dataclass(frozen=True, kw_only=True)
class ParameterSection:
    """One unknown, by one of these."""

    gaussian: GaussianSection | None = None
    ensemble: EnsembleSection | None = None
    multiplier: MultiplierSection | None = None
    curves: CurveNumbersSection | None = None
    generator: ImagesSection | None = None

    def __post_init__(self) -> None:
        given = [name for name, section in vars(self).items() if section is not None]
        if len(given) != 1:
            raise InputError(f"gaussian: got {given}; give one of {list(vars(self))}")

    @property
    def kind(self) -> GaussianSection | EnsembleSection | MultiplierSection | CurveNumbersSection | ImagesSection:
        """The one that is given."""
        (found,) = (section for section in vars(self).values() if section is not None)
        return found  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True, eq=False)
class Unknown:
    """A parameter as the case file has it.

    Attributes:
        name: of it.
        section: what the file says.
        arrays: what the files that it names say.
        where: file and key, for messages.
    """

    name: str
    section: ParameterSection
    arrays: tuple[np.ndarray, ...]
    where: str

    @property
    def is_generated(self) -> bool:
        """Whether a registered generator makes it."""
        return self.section.generator is not None

    def build(self, case: Case, generator: RockGenerator | None) -> Parameterisation:
        """Its parameterisation; InputError names file and key."""
        try:
            kind = self.section.kind
            if isinstance(kind, ImagesSection):
                assert generator is not None
                return kind.on(self.name, case, generator)
            return kind.build(self.name, case, self.arrays)
        except InputError as error:
            raise InputError(f"{self.where}: {error}") from error


def read_unknowns(sections: Mapping[str, ParameterSection], case: Case, path: Path) -> tuple[Unknown, ...]:
    """The parameters of the case file `path`, with the arrays that they name.

    Raises:
        InputError: naming file and key.
    """
    found = []
    for name, section in sections.items():
        where = f"{path}: matching.parameters.{name}"
        try:
            arrays = section.kind.arrays(case, path.parent)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        found.append(Unknown(name=name, section=section, arrays=arrays, where=where))
    return tuple(found)


def parameterisation(unknowns: Sequence[Unknown], case: Case, generator: RockGenerator | None) -> Parameterisation:
    """All of them together; without any, the generator's images are the rock."""
    if not unknowns:
        assert generator is not None
        return generator
    parts = [unknown.build(case, generator) for unknown in unknowns]
    return parts[0] if len(parts) == 1 else Joint(parts)
