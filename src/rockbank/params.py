"""params.yaml as frozen dataclasses: its only reader, and the only home of its rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rockbank.core.config import load_sections
from rockbank.core.errors import InputError

PARAMS = Path("params.yaml")
Section = TypeVar("Section")
LOSSES = ("wgan-gp", "wgan-lp", "dcgan", "hinge")
# Those whose critic is held by something else than a penalty of its gradient.
WITHOUT_PENALTY = ("dcgan", "hinge")
OPTIMISERS = ("rmsprop", "adam")
# Networks that noise enters at each scale.
WITH_NOISE = ("texture",)
# Networks whose critic judges feature maps, by layers of its own.
PROJECTED = ("texture",)
# Of a generator: it names folders, and MLflow takes no dot in the name of a logged model.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
# NumPy's older generator, which draws KID's subsets, takes 32 bits.
_SEED_BITS, _KID_SEED_BITS = 64, 32
REGIONS = ("blocks", "strips")
# Not Lite1: the projected critic compares its features, so a generator is trained to match them.
EXTRACTORS = ("efficientnet-lite0", "efficientnet-lite2", "inception")


@dataclass(frozen=True, kw_only=True)
class PrepareParams:
    """How crops are cut from the raw volumes. Sizes in pixels."""

    size: int
    n_train: int
    n_validation: int
    n_test: int
    split: str
    validation_fraction: float
    test_fraction: float
    block: int
    seed: int

    def __post_init__(self) -> None:
        _require(self.size > 0 and self.size % 16 == 0, "size", self.size, "use a multiple of 16, such as 64 or 256")
        _require_positive(self, "n_train", "n_validation", "n_test", "block")
        _require_seed(self)
        _require_among(self, "split", REGIONS)
        for key in ("validation_fraction", "test_fraction"):
            value = getattr(self, key)
            _require(0 < value < 1, key, value, "use a fraction between 0 and 1, such as 0.2")
        _require(
            self.validation_fraction + self.test_fraction < 1,
            "test_fraction",
            self.test_fraction,
            f"with a validation_fraction of {self.validation_fraction} nothing is left to train on: use less",
        )


@dataclass(frozen=True, kw_only=True)
class ChannelsParams:
    """How many object-based channel sections are made."""

    n_train: int
    n_validation: int
    n_test: int
    sand_proportion: float
    seed: int

    def __post_init__(self) -> None:
        _require_positive(self, "n_train", "n_validation", "n_test")
        _require_seed(self)
        _require(
            0 < self.sand_proportion < 1,
            "sand_proportion",
            self.sand_proportion,
            "use a fraction between 0 and 1, such as 0.5",
        )


@dataclass(frozen=True, kw_only=True)
class CheckParams:
    """Limits of the expectations on one data set; grey values are scaled to [0, 1]."""

    n_min: int
    mean: tuple[float, float]
    std_min: float
    saturated_max: float
    porosity: tuple[float, float]
    duplicates_max: float

    def __post_init__(self) -> None:
        for key in ("mean", "porosity"):
            low, high = getattr(self, key)
            _require(0 <= low < high <= 1, key, [low, high], "use [low, high] with 0 <= low < high <= 1")


@dataclass(frozen=True, kw_only=True)
class GeneratorParams:
    """One generator: its networks, its loss, how long it is trained."""

    family: str
    network: str
    latent: tuple[int, ...]
    loss: str
    optimiser: str
    rate_generator: float
    rate_critic: float
    anneal_from: float
    clip: float
    penalty: float
    energy: float
    n_critic: int
    shares_batch: bool
    batch: int
    turns: bool
    n_steps: int
    spectral_steps: int
    critic_width: int
    dropout: float
    ema: float
    bf16: bool
    evaluate_every: int
    seed: int

    def __post_init__(self) -> None:
        _require_among(self, "loss", LOSSES)
        _require_among(self, "optimiser", OPTIMISERS)
        _require_positive(
            self, "rate_generator", "rate_critic", "n_critic", "n_steps", "critic_width", "evaluate_every"
        )
        _require(
            self.energy >= 0, "energy", self.energy, "use a weight of at least 0; 0 leaves the energy distance out"
        )
        _require(self.clip >= 0, "clip", self.clip, "use a norm of at least 0; 0 clips nothing")
        _require_seed(self)
        can_fit = self.network in WITH_NOISE
        _require(
            self.spectral_steps == 0 or (can_fit and self.spectral_steps > 0),
            "spectral_steps",
            self.spectral_steps,
            "use 0 or a positive number"
            if can_fit
            else f"the network '{self.network}' has no noise to fit: set it to 0",
        )
        _require(self.batch > 1, "batch", self.batch, "batch norm needs at least 2")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "use a fraction in [0, 1)")
        _require(0 <= self.ema < 1, "ema", self.ema, "use a decay in [0, 1); 0 keeps no average")
        _require(
            len(self.latent) > 0 and min(self.latent) > 0,
            "latent",
            list(self.latent),
            "use positive sizes, such as [128]",
        )
        _require(
            0 <= self.anneal_from <= 1, "anneal_from", self.anneal_from, "use a fraction in [0, 1]; 1 keeps the rates"
        )
        if self.loss in WITHOUT_PENALTY:
            _require(
                self.penalty == 0,
                "penalty",
                self.penalty,
                f"the loss '{self.loss}' has no gradient penalty: set it to 0",
            )
        else:
            _require(self.penalty > 0, "penalty", self.penalty, f"the loss '{self.loss}' needs a positive weight")
        if self.network in PROJECTED:
            critic = f"the critic of '{self.network}'"
            _require(self.dropout == 0, "dropout", self.dropout, f"{critic} has no dropout: set it to 0")
            _require(
                self.loss in WITHOUT_PENALTY,
                "loss",
                self.loss,
                f"{critic} judges feature maps, and has no gradient penalty: use one of {list(WITHOUT_PENALTY)}",
            )


@dataclass(frozen=True, kw_only=True)
class ScoreParams:
    """Extractors and sample counts of the scores."""

    extractor: str
    second_extractor: str | None
    inception_weights: Path | None
    n_paper: int
    n_large: int
    n_progress: int
    seed: int

    def __post_init__(self) -> None:
        _require_among(self, "extractor", EXTRACTORS)
        if self.second_extractor is not None:
            _require_among(self, "second_extractor", EXTRACTORS)
            _require(
                self.second_extractor != self.extractor,
                "second_extractor",
                self.second_extractor,
                "it is the first one: name another, or null",
            )
        _require(self.n_paper >= 2, "n_paper", self.n_paper, "a covariance needs at least 2 samples")
        _require(
            self.n_large >= self.n_paper, "n_large", self.n_large, f"use at least n_paper, which is {self.n_paper}"
        )
        _require(self.n_progress >= 2, "n_progress", self.n_progress, "a covariance needs at least 2 samples")
        _require_seed(self, _KID_SEED_BITS)


@dataclass(frozen=True, kw_only=True)
class GateParams:
    """Thresholds that a generator of one family meets, or is refused."""

    fid_max: float
    kid_max: float
    s2_distance_max: float
    diversity_min: float
    memorisation_min: float
    kid_gain_min: float

    def __post_init__(self) -> None:
        _require(0 <= self.kid_gain_min <= 1, "kid_gain_min", self.kid_gain_min, "use a fraction in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class Params:
    """All of params.yaml.

    Attributes:
        prepare, channels: how the crops are made.
        check: limits of the expectations, by family.
        generators: whose weights travel in the DVC remote.
        challengers: which every clone trains itself, and compares with its champion.
        score: how generators are scored.
        gate: what they have to reach, by family.
    """

    prepare: PrepareParams
    channels: ChannelsParams
    check: dict[str, CheckParams]
    generators: dict[str, GeneratorParams]
    challengers: dict[str, GeneratorParams]
    score: ScoreParams
    gate: dict[str, GateParams]

    def __post_init__(self) -> None:
        _require(len(self.generators) > 0, "generators", {}, "name at least one generator")
        both = sorted(set(self.generators) & set(self.challengers))
        _require(not both, "challengers", both, "these are in 'generators' too: give each a name of its own")
        for name, generator in self.all_generators.items():
            check_generator_name(name, f"{self._section(name)}: got the name")
            for section in ("check", "gate"):
                known = getattr(self, section)
                if generator.family not in known:
                    raise InputError(
                        f"{self._section(name)}.{name}.family: '{generator.family}' has no section in '{section}'; "
                        f"known are {sorted(known)}"
                    )

    @property
    def all_generators(self) -> dict[str, GeneratorParams]:
        """Those that travel and the challengers."""
        return {**self.generators, **self.challengers}

    def of_family(self, family: str) -> list[str]:
        """The names of a family's generators."""
        return [name for name, generator in self.all_generators.items() if generator.family == family]

    def generator(self, name: str) -> GeneratorParams:
        """The generator called `name`; InputError names the known ones."""
        known = self.all_generators
        if name not in known:
            raise InputError(
                f"no generator '{name}' in sections 'generators' and 'challengers' of params.yaml; "
                f"known are {sorted(known)}"
            )
        return known[name]

    def check_of(self, family: str) -> CheckParams:
        """The limits of a family's data; InputError names the known ones."""
        return _of_family(self.check, "check", family)

    def gate_of(self, family: str) -> GateParams:
        """What a family's generators have to reach; InputError names the known ones."""
        return _of_family(self.gate, "gate", family)

    def _section(self, name: str) -> str:
        return "generators" if name in self.generators else "challengers"


def load_params(path: Path = PARAMS) -> Params:
    """Read `path` and check every key, type and combination.

    Raises:
        InputError: for a missing file, an unknown or missing key, a wrong type or an impossible
            combination, naming file, section and key.
    """
    return load_sections(path, Params, "run from the project's root, where params.yaml lies")


def check_generator_name(name: str, what: str = "name: got") -> None:
    """InputError, which begins with `what`, where no generator can be called `name`."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{what} '{name}'; use letters, digits, '-' and '_', 64 at most, a letter or a digit first")


def _of_family(sections: Mapping[str, Section], key: str, family: str) -> Section:
    if family not in sections:
        raise InputError(f"'{family}' has no section in '{key}' of {PARAMS}; add one, known are {sorted(sections)}")
    return sections[family]


def _require(holds: bool, key: str, got: Any, remedy: str) -> None:
    if not holds:
        raise InputError(f"{key}: got {got!r}; {remedy}")


def _require_positive(section: Any, *keys: str) -> None:
    for key in keys:
        _require(getattr(section, key) > 0, key, getattr(section, key), "use a positive number")


def _require_seed(section: Any, bits: int = _SEED_BITS) -> None:
    most = 2**bits - 1
    _require(0 <= section.seed <= most, "seed", section.seed, f"use a whole number from 0 to {most}")


def _require_among(section: Any, key: str, known: tuple[str, ...]) -> None:
    _require(getattr(section, key) in known, key, getattr(section, key), f"known are {list(known)}")
