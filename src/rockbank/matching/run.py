"""A run's folder: its settings, the generator that it may use, and how far each member has come."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Self, cast

import numpy as np

from rockbank.core.errors import InputError
from rockbank.core.files import parents_of, read_json, require_writable, sha256, write_json
from rockbank.core.locks import locked
from rockbank.gan.networks import Softenable
from rockbank.gan.weights import load_generator
from rockbank.generator.card import CARD, WEIGHTS, ModelCard
from rockbank.generator.latents import draw_latents
from rockbank.matching.io.case_file import MatchCase, load_match_case
from rockbank.matching.io.fingerprint import fingerprints
from rockbank.matching.io.parameters.unknowns import parameterisation
from rockbank.matching.methods.interface import EnsembleMethod, Member, Method
from rockbank.matching.methods.state import State
from rockbank.matching.methods.table import MethodSpec
from rockbank.matching.problem.cost import Cost
from rockbank.matching.problem.geology import RockGenerator
from rockbank.matching.problem.objective import Objective
from rockbank.matching.problem.parameterisation import Parameterisation
from rockbank.matching.settings import Settings

SETTINGS, GENERATOR, MEMBERS = "run.json", "generator", "members"
# Draws of the prior that a member may begin from, its own first.
N_STARTS = 4
# A run's folder until it is whole; not as `core.files` names its own, which lock nothing and are not to be taken away.
_PART = ".match-"


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
        write_settings(folder, settings)
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
    def has_generator(self) -> bool:
        """Whether a registered generator makes any of the rock."""
        return bool(self.settings.generator)

    @property
    def card_sha256(self) -> str:
        """Of the generator's card, which holds those of its files."""
        return sha256(self.folder / GENERATOR / CARD)

    @cached_property
    def rock(self) -> Parameterisation:
        """Latents to rock and fluid."""
        case = self.case
        return parameterisation(case.unknowns, case.case, self._generator() if self.has_generator else None)

    def _generator(self) -> RockGenerator:
        card = self.card
        weights = self.folder / GENERATOR / WEIGHTS
        content = card.read(weights.parent, WEIGHTS)
        module = load_generator(
            weights, network=card.network, latent=card.latent_shape, image=card.image_shape, content=content
        )
        if (edges := self.settings.edges) is not None:
            if not isinstance(module, Softenable):
                raise InputError(f"edges: got {edges:g}; images of the network '{card.network}' have none that could "
                                 "be softened; leave it out")  # fmt: skip
            module = module.softened(edges)
        return RockGenerator(module, card.latent_shape, card.value_range, self.case.geology)

    @cached_property
    def objective(self) -> Objective:
        """What the members minimise."""
        case, settings = self.case, self.settings
        return Objective(
            self.rock,
            case.case,
            case.observations,
            case.facies,
            flow=settings.flow,
            wells=settings.wells,
            scaling=settings.scaling,
        )

    @property
    def spec(self) -> MethodSpec:
        """Of the method."""
        return self.settings.spec

    @cached_property
    def method(self) -> Method:
        """How they do, each by itself; not for an ensemble method."""
        return cast(Method, self._made)

    @cached_property
    def ensemble_method(self) -> EnsembleMethod | None:
        """How they do, where they go together."""
        return cast(EnsembleMethod, self._made) if self.spec.is_ensemble else None

    @cached_property
    def _made(self) -> Method | EnsembleMethod:
        return self.spec.make(self.settings.iterations, self.settings.seed)

    @property
    def max_iterations(self) -> int:
        """That a member makes at most; 0 for a method that makes none."""
        return self._made.max_iterations

    @property
    def iteration_cost(self) -> Cost:
        """Of an iteration of one member in the mean."""
        return self._made.iteration_cost

    def n_iterations(self, state: State | None) -> int:
        """That a member has made."""
        if state is None or not state.records:
            return 0
        return self.spec.n_iterations(len(state.records) - 1, state.last.cost)

    def member(self, i: int) -> Member:
        """The i-th: a draw of the prior; where the method perturbs also the prior mean, and perturbed observations.

        Every member's draws are its own, whatever the number of members (randomised maximum likelihood: Oliver, He
        and Reynolds 1996). The wells' facies are taken as they are, which makes the samples a little too narrow.
        """
        objective, seed = self.objective, self.settings.seed
        z = draw_latents(seed, i + 1, (objective.n_latent,))[i].astype(float)
        draws = np.random.Generator(np.random.Philox(key=np.array([seed, i + 1], dtype=np.uint64)))
        of = objective.observations
        observed = of.value + of.sigma * draws.standard_normal(len(of))
        starts = tuple(draws.standard_normal((N_STARTS - 1, objective.n_latent)))
        target = objective.target(prior_mean=z, observed=observed) if self.spec.is_perturbed else objective.target()
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


def write_settings(folder: Path, settings: Settings) -> None:
    """The settings of the run in a folder."""
    write_json(folder / SETTINGS, asdict(settings))


def require_new(folder: Path) -> None:
    """InputError where `folder` is there, or could not be made."""
    if folder.exists():
        raise InputError(_taken(folder))
    require_writable(folder)


def _taken(folder: Path) -> str:
    return f"{folder}: is there already; 'rockbank match resume {folder}' goes on with it, --name gives another"


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that becomes `folder` when the block succeeds, and never takes the place of another.

    Raises:
        InputError: `folder` is there.
    """
    require_new(folder)
    with parents_of(folder), _held_folder(folder) as beside:
        try:
            yield beside
            beside.chmod(0o755)
            try:
                os.rename(beside, folder)
            except FileExistsError as error:
                raise InputError(_taken(folder)) from error
            except OSError as error:
                if error.errno == errno.ENOTEMPTY:
                    raise InputError(_taken(folder)) from error
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _held_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that is locked; those that killed processes left there, which nobody holds, go."""
    for left in folder.parent.glob(f"{_PART}*"):
        with suppress(OSError), locked(left):
            shutil.rmtree(left, ignore_errors=True)
    beside = Path(tempfile.mkdtemp(prefix=f"{_PART}{folder.name}.", dir=folder.parent))
    with locked(beside):
        yield beside
