"""A run's folder: what was asked, the generator that it was asked of, and how far each member has come."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np

from rockbank.core.errors import InputError
from rockbank.core.files import read_json, sha256, write_json
from rockbank.gan.weights import load_generator
from rockbank.generator.card import CARD, WEIGHTS, ModelCard
from rockbank.generator.latents import draw_latents
from rockbank.matching.io.case_file import MatchCase, load_match_case
from rockbank.matching.io.fingerprint import fingerprints
from rockbank.matching.methods.adam import Adam, Prior
from rockbank.matching.methods.gauss_newton import GaussNewton
from rockbank.matching.methods.mcmc import Chain
from rockbank.matching.methods.state import State
from rockbank.matching.methods.workers import Member, Method, Together
from rockbank.matching.problem.geology import RockGenerator
from rockbank.matching.problem.objective import Objective, Scaling

SETTINGS, GENERATOR, MEMBERS = "run.json", "generator", "members"
PRIOR = "prior"


def _es_mda(asked: Settings, is_localised: bool) -> Together:
    from rockbank.matching.methods.es_mda import (
        EsMda,  # its library takes a second to import, which the others need not
    )

    return EsMda(is_localised=is_localised, **_limit(asked))


def _chain(asked: Settings, is_guided: bool) -> Chain:
    """Whose first quarter adapts its steps; the member's own result is its last sample."""
    n_samples = asked.iterations or Chain.max_iterations
    return Chain(max_iterations=n_samples, burn_in=n_samples // 4, seed=asked.seed, is_guided=is_guided)


# Methods that take each member by itself, and those that take all of them together.
METHODS: Mapping[str, Callable[[Settings], Method]] = {
    PRIOR: lambda asked: Prior(),
    "adam": lambda asked: Adam(**_limit(asked)),
    "gauss-newton": lambda asked: GaussNewton(seeks_fit=True, **_limit(asked)),
    "rml": lambda asked: GaussNewton(seeks_fit=False, **_limit(asked)),
    "pcn": lambda asked: _chain(asked, is_guided=False),
    "mala": lambda asked: _chain(asked, is_guided=True),
}
TOGETHER: Mapping[str, Callable[[Settings], Together]] = {
    "es-mda": lambda asked: _es_mda(asked, is_localised=False),
    "es-mda-localised": lambda asked: _es_mda(asked, is_localised=True),
}
# Methods that go to a minimum, of whatever scaling.
OPTIMISERS = (PRIOR, "adam", "gauss-newton")
# Methods whose members have observations and a prior mean of their own.
PERTURBED = ("rml",)
# Draws of the prior that a member may begin from, its own first.
N_STARTS = 4


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run was asked to do.

    Attributes:
        case: path of the case file, seen from the run's folder where both lie in one project.
        case_sha256: of it when the run began.
        inputs: fingerprints of what the case file and the files that it names said then.
        generator: name and version of the registered generator.
        generator_sha256: of its card, which holds those of its files; "" is not known, of a run of before.
        method: one of METHODS or TOGETHER.
        members: how many.
        seed: of all their draws.
        flow, wells: which terms of the objective count.
        scaling: "posterior", or the published one.
        iterations: at most, of a member: gradients of adam, Jacobians of gauss-newton and rml, which each serve
            several iterates, assimilations of es-mda, samples of pcn and mala; None is the method's own number.
    """

    case: str
    case_sha256: str
    inputs: Mapping[str, str]
    generator: str
    generator_sha256: str = ""
    method: str
    members: int
    seed: int
    flow: bool = True
    wells: bool = True
    scaling: Scaling = "posterior"
    iterations: int | None = None

    def __post_init__(self) -> None:
        choices = {"method": (*METHODS, *TOGETHER), "scaling": get_args(Scaling)}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name}: got '{getattr(self, name)}'; known are {list(known)}")
        if self.members < 1:
            raise InputError(f"members: got {self.members}; ask for one at least")
        if not 0 <= self.seed < 2**64:
            raise InputError(f"seed: got {self.seed}; use a whole number in [0, 2^64)")
        if self.iterations is not None and self.method == PRIOR:
            raise InputError(f"iterations: got {self.iterations}; method '{PRIOR}' has none, leave it out")
        if self.scaling == "published" and self.method not in OPTIMISERS:
            raise InputError(f"scaling: got 'published'; {self.method} samples the posterior, which that is not: leave "
                             f"it at 'posterior', or take a method of {list(OPTIMISERS)}")  # fmt: skip
        if self.iterations is not None and self.iterations < 1:
            raise InputError(f"iterations: got {self.iterations}; allow one at least")


class Run:
    """A run in its folder; every process that works on it opens it anew."""

    def __init__(self, folder: str | Path) -> None:
        """The run in `folder`.

        Raises:
            InputError: there is none.
        """
        self.folder = Path(folder)
        path = self.folder / SETTINGS
        if not path.is_file():
            raise InputError(f"{self.folder}: holds no run; 'rockbank match CASE.yaml' makes one, and says where")
        try:
            self.settings = Settings(**read_json(path))
        except TypeError as error:
            raise InputError(f"{path}: no settings of a run: {error}; begin another run") from error

    @classmethod
    def create(cls, folder: Path, settings: Settings) -> Self:
        """A new run; the generator lies in its folder already."""
        (folder / MEMBERS).mkdir(parents=True)
        write_json(folder / SETTINGS, asdict(settings))
        return cls(folder)

    @cached_property
    def case(self) -> MatchCase:
        """The case, read again from its files.

        Raises:
            InputError: naming the input that is not what it was when the run began.
        """
        path = self.folder / self.settings.case
        remedy = f"is not what it was when the run in {self.folder} began; put it back, or begin another run"
        if not path.is_file():
            raise InputError(f"{path}: no such file; it {remedy}")
        case = load_match_case(path)
        now = fingerprints(case)
        changed = [name for name, before in self.settings.inputs.items() if now.get(name) != before]
        if changed:
            raise InputError(
                f"{path}: what it or a file that it names says of the {' and the '.join(changed)} {remedy}"
            )
        # What it says besides, such as a comment, may change.
        return case

    @cached_property
    def card(self) -> ModelCard:
        """The generator's card, whose weights are as it says; a match needs no other of its files.

        Raises:
            InputError: it is not what it was when the run began.
            CardMismatch: the weights are not.
        """
        folder = self.folder / GENERATOR
        card = ModelCard.load(folder)
        if self.settings.generator_sha256 not in ("", self.card_sha256):
            raise InputError(f"{folder / CARD}: is not what it was when the run began; put the generator's folder "
                             "back, or begin another run")  # fmt: skip
        card.verify(folder, (WEIGHTS,))
        return card

    @property
    def card_sha256(self) -> str:
        """Of the generator's card, which holds those of its files."""
        return sha256(self.folder / GENERATOR / CARD)

    @cached_property
    def rock(self) -> RockGenerator:
        """Latents to rock."""
        card = self.card
        weights = self.folder / GENERATOR / WEIGHTS
        module = load_generator(weights, network=card.network, latent=card.latent_shape, image=card.image_shape)
        return RockGenerator(module, card.latent_shape, card.value_range, self.case.geology)

    @cached_property
    def objective(self) -> Objective:
        """What the members minimise."""
        case, asked = self.case, self.settings
        return Objective(
            self.rock,
            case.case,
            case.observations,
            case.facies,
            flow=asked.flow,
            wells=asked.wells,
            scaling=asked.scaling,
        )

    @cached_property
    def method(self) -> Method:
        """How they do, each by itself; not for a method of TOGETHER."""
        return METHODS[self.settings.method](self.settings)

    @cached_property
    def together(self) -> Together | None:
        """How they do, where they go together."""
        make = TOGETHER.get(self.settings.method)
        return None if make is None else make(self.settings)

    @property
    def n_iterations(self) -> int:
        """The most that a member takes."""
        return int(getattr(self.together or self.method, "max_iterations", 1))

    def member(self, i: int) -> Member:
        """The i-th: a draw of the prior; for `rml` also the centre, and perturbed observations.

        Every member's draws are its own, whatever the number of members (randomised maximum likelihood: Oliver, He
        and Reynolds 1996). The wells' facies are taken as they are, which makes the samples a little too narrow.
        """
        objective, seed = self.objective, self.settings.seed
        z = draw_latents(seed, i + 1, (objective.n_latent,))[i].astype(float)
        draws = np.random.Generator(np.random.Philox(key=np.array([seed, i + 1], dtype=np.uint64)))
        of = objective.observations
        observed = of.value + of.sigma * draws.standard_normal(len(of))
        starts = tuple(draws.standard_normal((N_STARTS - 1, objective.n_latent)))
        is_perturbed = self.settings.method in PERTURBED
        target = objective.target(centre=z, observed=observed) if is_perturbed else objective.target()
        return Member(z=z, target=replace(target, starts=starts))

    @property
    def has_checkpoints(self) -> bool:
        """Whether its members' states are there; of a run that `dvc pull` brought there are results alone."""
        return (self.folder / MEMBERS).is_dir()

    def checkpoint(self, i: int) -> Path:
        """Where the i-th member's state lies."""
        return self.folder / MEMBERS / f"{i:04d}.npz"

    def states(self) -> Sequence[State | None]:
        """Of every member, how far it is; None has not begun.

        Raises:
            InputError: naming the checkpoint that is damaged.
        """
        paths = [self.checkpoint(i) for i in range(self.settings.members)]
        return [State.load(path) if path.is_file() else None for path in paths]

    @contextmanager
    def held(self) -> Iterator[None]:
        """No other process works on the run meanwhile; the system lets go of it however this one ends.

        Raises:
            InputError: another one does.
        """
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"{self.folder}: another process works on this run; wait for it, or stop it"
                ) from error
            yield


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that becomes `folder` when the block succeeds, and never takes the place of another.

    Raises:
        InputError: `folder` is there.
    """
    taken = f"{folder}: is there already; 'rockbank match resume {folder}' goes on with it, --name gives another"
    if folder.exists():
        raise InputError(taken)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        yield beside
        beside.chmod(0o755)
        try:
            os.rename(beside, folder)
        except FileExistsError as error:
            raise InputError(taken) from error
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise InputError(taken) from error
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _limit(asked: Settings) -> Mapping[str, Any]:
    return {} if asked.iterations is None else {"max_iterations": asked.iterations}
