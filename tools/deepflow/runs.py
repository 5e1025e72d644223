"""The runs that the report on DeepFlow's case is made of: which they are, and how far each has come."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from rockbank.core.errors import InputError
from rockbank.generator.card import WEIGHTS, ModelCard
from rockbank.matching.methods.status import FAILED, MAX_ITERATIONS_REACHED, RUNNING, status_in_words
from rockbank.matching.problem.cost import COST
from rockbank.matching.problem.objective import Scaling
from rockbank.matching.results.diagnostics import has
from rockbank.matching.results.posterior import POSTERIOR, fingerprint, read_posterior
from rockbank.matching.run import GENERATOR, SETTINGS, Run

GROUPS = {"published": "deepflow_published.yaml", "own": "deepflow.yaml"}
GENERATORS = {"published": "deepflow@candidate", "own": "channels@champion"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run that the report asks for.

    Attributes:
        name: of its folder.
        scenario: of the paper: 1 the prior, 2 the wells' facies, 3 the flow, 4 both.
        method: of the match.
        members: how many the report wants.
        scaling: of the objective's parts.
    """

    name: str
    scenario: int
    method: str
    members: int
    scaling: Scaling = "posterior"

    @property
    def group(self) -> str:
        """ "published" or "own"."""
        return self.name.partition("-")[0]

    @property
    def label(self) -> str:
        """For tables and pictures."""
        return (
            {1: "prior", 2: "wells", 3: "flow", 4: "flow and wells"}[self.scenario]
            + (f", {self.method}" if self.scenario > 2 else "")
            + ("" if self.scaling == "posterior" else ", loss as published")
        )

    @property
    def is_compared(self) -> bool:
        """Whether its objective is the one that methods are compared by."""
        return self.scenario == 4 and self.scaling == "posterior"

    @property
    def settings(self) -> Mapping[str, Any]:
        """As a run's dataset tells its own."""
        return {
            "case": GROUPS[self.group],
            "method": self.method,
            "members": self.members,
            "flow": self.scenario != 2,
            "wells": self.scenario != 3,
            "scaling": self.scaling,
            "iterations": None,
        }


PLANS = (
    Plan(name="published-prior", scenario=1, method="prior", members=100),
    Plan(name="published-wells", scenario=2, method="gauss-newton", members=100),
    Plan(name="published-flow-adam", scenario=3, method="adam", members=10),
    Plan(name="published-flow-gauss-newton", scenario=3, method="gauss-newton", members=40),
    Plan(name="published-adam", scenario=4, method="adam", members=10),
    Plan(name="published-adam-loss", scenario=4, method="adam", members=10, scaling="published"),
    Plan(name="published-gauss-newton", scenario=4, method="gauss-newton", members=40),
    Plan(name="published-rml", scenario=4, method="rml", members=20),
    Plan(name="published-es-mda", scenario=4, method="es-mda", members=100),
    Plan(name="own-prior", scenario=1, method="prior", members=100),
    Plan(name="own-wells", scenario=2, method="gauss-newton", members=100),
    Plan(name="own-flow-adam", scenario=3, method="adam", members=5),
    Plan(name="own-flow-gauss-newton", scenario=3, method="gauss-newton", members=20),
    Plan(name="own-adam", scenario=4, method="adam", members=5),
    Plan(name="own-gauss-newton", scenario=4, method="gauss-newton", members=20),
    Plan(name="own-rml", scenario=4, method="rml", members=20),
    Plan(name="own-es-mda", scenario=4, method="es-mda", members=100),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """Of a run of which at least one member has ended.

    Attributes:
        plan: which run it is.
        settings: of the run.
        whole: its dataset, with the members that failed or are still running.
        dataset: of the members that ended and did not fail.
    """

    plan: Plan
    settings: Mapping[str, Any]
    whole: xr.Dataset
    dataset: xr.Dataset


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """A run as it lies in its folder, or that it does not.

    Attributes:
        plan: which it is.
        settings: of the run, or those that it would have.
        results: None where no member has ended, or nothing was gathered yet.
        members, ended, failed: how many members; those that failed are not among those that ended.
        limited: of those that ended, how many reached their iteration limit.
        note: what else is to be known of its state, or "".
        weights_sha256: of the generator's weights, or "".
    """

    plan: Plan
    settings: Mapping[str, Any]
    results: Results | None = None
    members: int = 0
    ended: int = 0
    failed: int = 0
    limited: int = 0
    note: str = ""
    weights_sha256: str = ""

    @property
    def state(self) -> str:
        """How far it is, in words."""
        if not self.members:
            return "not run"
        said = f"{self.ended} of {self.members} members ended"
        counts = ((self.limited, MAX_ITERATIONS_REACHED), (self.failed, FAILED))
        said += "".join(f", {n} {status_in_words(status, n)}" for n, status in counts if n)
        return said + (f"; {self.note}" if self.note else "")

    @property
    def is_whole(self) -> bool:
        """Whether no member is still to come, and the dataset is of all of them."""
        return self.results is not None and self.members == self.ended + self.failed and not self.note

    @property
    def command(self) -> str:
        """That makes the run."""
        of = self.settings
        terms = [term for term in ("flow", "wells") if of[term]]
        said = [f"rockbank match cases/{of['case']}"]
        said += [f"--generator {GENERATORS[self.plan.group]} --method {of['method']} --members {of['members']}"]
        said += [f"--seed {of['seed']}"] if "seed" in of else []
        said += [f"--terms {','.join(terms)}"] if len(terms) == 1 else []
        said += [f"--scaling {of['scaling']}"] if of.get("scaling", "posterior") != "posterior" else []
        said += [f"--iterations {of['iterations']}"] if of.get("iterations") else []
        return " ".join([*said, f"--name {self.plan.name}"])


def find(matches: Path) -> list[Found]:
    """All planned runs, as they are in the folder of matches.

    Raises:
        InputError: there is none of them, or a file of one is damaged.
    """
    found = [replace(_read(plan, matches / plan.name), weights_sha256=_weights(matches / plan.name)) for plan in PLANS]
    if not any(each.members for each in found):
        raise InputError(f"{matches}: none of the report's runs is there; begin with '{found[0].command}'")
    return found


def between(runs: Sequence[Results]) -> Results | None:
    """The run whose interpolation is shown in full: gauss-newton with all terms, else the last that has one."""
    found = [run for run in runs if has(run.whole, "interpolation_total", "interpolation_facies")]
    of_newton = [run for run in found if run.plan.scenario == 4 and run.plan.method == "gauss-newton"]
    return next(iter([*of_newton, *found[::-1]]), None)


def _weights(folder: Path) -> str:
    generator = folder / GENERATOR
    return ModelCard.load(generator).files[WEIGHTS] if generator.is_dir() else ""


def _read(plan: Plan, folder: Path) -> Found:
    if (folder / POSTERIOR).is_file():
        return _of_dataset(plan, folder)
    if not (folder / SETTINGS).is_file():
        return Found(plan=plan, settings=plan.settings)
    run = Run(folder)
    states = run.states()
    statuses = [RUNNING if state is None else state.status for state in states]
    settings = asdict(run.settings)
    return Found(
        plan=plan,
        settings=settings | {"case": Path(settings["case"]).name},
        members=len(states),
        ended=sum(status not in (RUNNING, FAILED) for status in statuses),
        failed=statuses.count(FAILED),
        limited=statuses.count(MAX_ITERATIONS_REACHED),
        note=_differs(plan, settings) or f"no results yet, which `rockbank match report matches/{plan.name}` makes",
    )


def _of_dataset(plan: Plan, folder: Path) -> Found:
    whole = costed(read_posterior(folder))
    settings = json.loads(whole.attrs["settings"])
    is_stale = _has_checkpoints(folder) and fingerprint(Run(folder)) != whole.attrs["checkpoints_sha256"]
    status = whole.status.values.astype(str)
    has_ended = ~np.isin(status, (RUNNING, FAILED))
    results = Results(plan=plan, settings=settings, whole=whole, dataset=whole.isel(member=has_ended))
    return Found(
        plan=plan,
        settings=settings,
        results=results if has_ended.any() else None,
        members=len(status),
        ended=int(has_ended.sum()),
        failed=int((status == FAILED).sum()),
        limited=int((status == MAX_ITERATIONS_REACHED).sum()),
        note=_differs(plan, settings)
        or (f"older than its members, `rockbank match report matches/{plan.name}` renews it" if is_stale else ""),
    )


def _has_checkpoints(folder: Path) -> bool:
    """Whether there are members that the dataset may be older than; `dvc pull` brings none."""
    return (folder / SETTINGS).is_file() and Run(folder).has_checkpoints


def costed(whole: xr.Dataset) -> xr.Dataset:
    """With costs of the weights of now, whenever it was gathered."""
    counts = {name: f"cost_{name}" for name in COST if f"cost_{name}" in whole}
    if not counts:
        return whole
    return whole.assign(history_cost=sum(COST[name] * whole[count] for name, count in counts.items()))


def _differs(plan: Plan, settings: Mapping[str, Any]) -> str:
    """What of the run is not as planned, but for the number of its members; "" where all is."""
    found = dict(settings) | {"case": Path(settings["case"]).name}
    wanted = {name: want for name, want in plan.settings.items() if name != "members"}
    said = {name: "the method's own" if want is None else want for name, want in wanted.items()}
    other = [f"{name} {found[name]}, not {said[name]}" for name, want in wanted.items() if found[name] != want]
    return f"not as planned: {'; '.join(other)}" if other else ""
