"""The settings of a run of history matching, and what of them is impossible."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from rockbank.core.errors import InputError
from rockbank.matching.methods.table import METHODS, MethodSpec
from rockbank.matching.problem.objective import Scaling


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a run.

    Attributes:
        case: path of the case file, seen from the run's folder where both lie in one project.
        case_sha256: of it when the run began.
        inputs: fingerprints of what the case file and the files that it names said then.
        generator: name and version of the registered generator; "" is none.
        generator_sha256: of its card, which holds those of its files; "" is not known, of a run of before.
        method: one of methods.table.METHODS.
        members: how many.
        seed: of all their draws.
        parameters: numbers of the latent of each parameter, by name; {} is all of the generator's.
        flow, wells: which terms of the objective count.
        scaling: "posterior", or the published one.
        iterations: of a member, at most; its MethodSpec says what one is, and None is the method's own number.
        edges: steepness of a generator's, 1/cell, whose images are softened for the match; None takes them as they are.
    """

    case: str
    case_sha256: str
    inputs: Mapping[str, str]
    generator: str
    generator_sha256: str = ""
    method: str
    members: int
    seed: int
    parameters: Mapping[str, int] = field(default_factory=dict)
    flow: bool = True
    wells: bool = True
    scaling: Scaling = "posterior"
    iterations: int | None = None
    edges: float | None = None

    def __post_init__(self) -> None:
        choices = {"method": list(METHODS), "scaling": get_args(Scaling)}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name}: got '{getattr(self, name)}'; known are {list(known)}")
        if self.members < 1:
            raise InputError(f"members: got {self.members}; ask for one at least")
        if not 0 <= self.seed < 2**64:
            raise InputError(f"seed: got {self.seed}; use a whole number in [0, 2^64)")
        if self.iterations is not None and self.spec.iteration is None:
            raise InputError(f"iterations: got {self.iterations}; method '{self.method}' has none, leave it out")
        if self.scaling == "published" and not self.spec.is_optimiser:
            optimisers = [name for name, spec in METHODS.items() if spec.is_optimiser]
            raise InputError(f"scaling: got 'published'; {self.method} samples the posterior, which that is not: leave "
                             f"it at 'posterior', or take a method of {optimisers}")  # fmt: skip
        if self.iterations is not None and self.iterations < 1:
            raise InputError(f"iterations: got {self.iterations}; allow one at least")
        if self.edges is not None and not 0 < self.edges < math.inf:
            raise InputError(f"edges: got {self.edges:g}; give a steepness, 1/cell, above 0")

    @property
    def spec(self) -> MethodSpec:
        """Of the method."""
        return METHODS[self.method]
