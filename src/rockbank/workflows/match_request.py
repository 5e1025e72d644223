"""What `rockbank match` is to do, and the run that it becomes; all that is impossible is refused here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast

from rockbank.core.errors import InputError
from rockbank.core.files import sha256
from rockbank.gan.networks import find_network
from rockbank.generator.card import CARD, ModelCard
from rockbank.matching.io.case_file import MatchCase
from rockbank.matching.io.fingerprint import fingerprints
from rockbank.matching.methods.table import DEFAULT_METHOD
from rockbank.matching.problem.objective import Scaling
from rockbank.matching.run import GENERATOR, Run, write_settings
from rockbank.matching.settings import Settings

_Value = TypeVar("_Value", str, int)
MATCHES = Path("matches")
TERMS = ("flow", "wells")


@dataclass(frozen=True, kw_only=True)
class MatchRequest:
    """What the command says; None is the case file's.

    Attributes:
        generator: NAME@ALIAS or NAME/VERSION.
        method: one of methods.table.METHODS.
        members: how many.
        seed: of all their draws.
        terms: of the objective, such as "flow,wells".
        scaling: of its parts.
        iterations: at most; None is the method's own.
        edges: of the generator's images, 1/cell; None is its network's own for a match.
        name: of the run's folder within MATCHES; None is made of case and method.
    """

    generator: str | None = None
    method: str | None = None
    members: int | None = None
    seed: int | None = None
    terms: str = ",".join(TERMS)
    scaling: str = "posterior"
    iterations: int | None = None
    edges: float | None = None
    name: str | None = None


def prepare(path: Path, case: MatchCase, request: MatchRequest, folder: Path) -> Run:
    """A run in an empty folder, whose parameters fit its case."""
    # A status is shown without the registry, whose import takes longer than the rest of it.
    from rockbank.mlops import registry

    reference = ""
    if case.is_generated:
        reference = _required("generator", request.generator, case.generator, "such as channels@champion")
    else:
        names = [unknown.name for unknown in case.unknowns]
        if request.generator is not None:
            raise InputError(f"--generator: got '{request.generator}', of which none of the case's parameters {names} "
                             "is; leave it out")  # fmt: skip
        if request.edges is not None:
            raise InputError(f"--edges: got {request.edges:g}; none of the case's parameters {names} is a generator's: "
                             "leave it out")  # fmt: skip
    terms = [term.strip() for term in request.terms.split(",") if term.strip()]
    unknown = [term for term in terms if term not in TERMS]
    if unknown:
        raise InputError(f"--terms: got '{unknown[0]}'; known are {list(TERMS)}")
    with _naming(path):
        settings = _settings(path, case, request, folder, reference, terms)
        if reference:
            entry = registry.pull(reference, folder / GENERATOR)[0]
            name, card_sha256 = f"{entry.name}/{entry.version}", sha256(folder / GENERATOR / CARD)
            settings = replace(settings, generator=name, generator_sha256=card_sha256)
            if request.edges is None:
                network = find_network(ModelCard.load(folder / GENERATOR).network)
                settings = replace(settings, edges=network.match_edges)
        run = Run.create(folder, settings)
        if case.unknowns:
            # The status of a run says them without its case.
            sizes = {group.name: group.n_latent for group in run.rock.groups}
            write_settings(folder, replace(settings, parameters=sizes))
            run = Run(folder)
        _ = run.objective, run.max_iterations
        if run.ensemble_method is not None:
            run.ensemble_method.check(run.objective, run.settings.members)
    return run


def _settings(
    path: Path, case: MatchCase, request: MatchRequest, folder: Path, generator: str, terms: Sequence[str]
) -> Settings:
    return Settings(
        case=_seen_from(folder, path),
        case_sha256=sha256(path),
        inputs=fingerprints(case),
        generator=generator,
        method=request.method or case.method or DEFAULT_METHOD,
        members=_required("members", request.members, case.members, "such as 100"),
        seed=case.seed if request.seed is None else request.seed,
        flow="flow" in terms,
        wells="wells" in terms,
        scaling=cast(Scaling, request.scaling),
        iterations=request.iterations,
        edges=request.edges,
    )


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Makes an error of what a case is matched with name its file, whoever said it."""
    from rockbank.mlops.registry import RegistryError

    try:
        yield
    except (InputError, RegistryError) as error:
        said = str(error)
        error.args = (said if said.startswith(f"{path}:") else f"{path}: {said}",)
        raise


def _seen_from(folder: Path, case: Path) -> str:
    """A project that is cloned or moved takes its runs along with their cases; other case files stay where they are."""
    folder, case = folder.resolve(), case.resolve()
    return os.path.relpath(case, folder) if case.is_relative_to(folder.parents[1]) else str(case)


def _required(name: str, given: _Value | None, of_case: _Value | None, example: str) -> _Value:
    value = of_case if given is None else given
    if value is None:
        raise InputError(
            f"--{name}: is given neither here nor in the case file's section 'matching'; give one, {example}"
        )
    return value


def folder_of(path: Path, case: MatchCase, request: MatchRequest) -> Path:
    """Of a new run: that of its name, or the next one of its case and method."""
    if request.name is not None:
        if not request.name or Path(request.name).name != request.name or request.name.startswith("."):
            raise InputError(f"--name: got '{request.name}'; give the name of a folder within {MATCHES}")
        return MATCHES / request.name
    first = MATCHES / f"{path.stem}-{request.method or case.method or DEFAULT_METHOD}"
    folder, n = first, 1
    while folder.exists():
        n += 1
        folder = first.with_name(f"{first.name}-{n}")
    return folder
