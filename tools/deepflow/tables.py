"""The tables of the report on DeepFlow's case, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from rockbank.core.files import read_json
from rockbank.matching.results.calibration import expected_coverage
from rockbank.matching.results.diagnostics import LOSS_THRESHOLD, TIME_MEAN_THRESHOLD, forecast_coverage, has
from rockbank.matching.results.plots.style import last, to_text
from tools.deepflow.bars import GOOD, AcceptanceCriterion, compared
from tools.deepflow.numbers import (
    ACCURACY_BAR,
    ACCURACY_PUBLISHED,
    PUBLISHED,
    Published,
    ends,
    final_cost,
    has_histories,
    histories,
    members_off_the_bar,
    thresholds,
)
from tools.deepflow.runs import Found, Results

_COSTS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_NONE = "–"


def state_table(runs: Sequence[Found]) -> str:
    """How far each run is."""
    rows = []
    for run in runs:
        name = run.plan.name
        link = _NONE if run.results is None else f"[{name}.csv](deepflow/{name}.csv)"
        rows.append((name, str(run.plan.scenario), run.settings["method"], run.state, link))
    return _table(("run", "scenario", "method", "state", "a row per member"), rows, n_text=5)


def ends_table(runs: Sequence[Found], *, with_paper: bool) -> str:
    """What the members of each run ended with, below the paper's row of the scenario."""
    head = ("", "members", "J", "objective", "loss as published", "accuracy at the wells",
            f"accuracy ≥ {ACCURACY_PUBLISHED:g}, %", "connected, %", "after dilation, %", r"\|z\|²")  # fmt: skip
    rows, with_row = [], set()
    for run in runs:
        scenario = run.plan.scenario
        if with_paper and scenario not in with_row:
            rows.append(_of_paper(scenario, PUBLISHED[scenario]))
            with_row.add(scenario)
        if run.results is None:
            rows.append((run.plan.label, run.state, *[_NONE] * (len(head) - 2)))
            continue
        of = ends(run.results)
        members = str(run.ended) if run.is_whole else run.state
        accurate = _percent(of.accuracy >= ACCURACY_PUBLISHED)
        rows.append((run.plan.label, members, *map(_spread, (of.time_mean, of.objective, of.loss, of.accuracy)),
                     accurate, _percent(of.before), _percent(of.after), _spread(of.norm_squared)))  # fmt: skip
    return _table(head, rows)


def _of_paper(scenario: int, of: Published) -> tuple[str, ...]:
    accuracy = _NONE if of.accuracy is None else "({:.2f}–{:.2f})".format(*of.accuracy)
    parts = (_NONE if part is None else str(part) for part in (of.accurate, of.before, of.after))
    ends = (_range(of.time_mean), _NONE, _range(of.loss), accuracy)
    cells = (f"paper, scenario {scenario}", "100", *ends, *parts, _NONE)
    return tuple(cell if cell == _NONE else f"*{cell}*" for cell in cells)


def _range(of: tuple[float, float | None, float] | None) -> str:
    if of is None:
        return _NONE
    low, middle, high = (None if each is None else to_text(float(f"{each:.2g}")) for each in of)
    return f"{'' if middle is None else f'{middle} '}({low}–{high})"


def reached_table(runs: Sequence[Found], *, with_paper: bool) -> str:
    """After how many iterations and at what cost the members reach the thresholds, and their ends."""
    head = ("", "threshold", "members that reach it", "iterations to it", "cost to it")
    rows, with_row = [], set()
    for run in runs:
        mean = PUBLISHED[run.plan.scenario].iterations
        if with_paper and mean is not None and run.plan.scenario not in with_row:
            with_row.add(run.plan.scenario)
            rows.append((f"*paper, scenario {run.plan.scenario}*", "*loss ≤ 1,000*", _NONE, f"*mean {mean}*", _NONE))
        if run.results is None or not has_histories(run.results):
            if run.plan.scenario > 2:
                rows.append((run.plan.label, run.state, _NONE, _NONE, _NONE))
            continue
        of, n = histories(run.results), run.ended
        for name, reached in thresholds(of).items():
            rows.append((run.plan.label, name, f"{reached.n} of {n}", _spread(reached.iterations),
                         _spread(reached.cost)))  # fmt: skip
        iterations = np.isfinite(of.cost).sum(axis=1) - 1.0
        rows.append(
            (run.plan.label, "end", f"{n} of {n}", _spread(iterations), _spread(final_cost(run.results.dataset)))
        )
    note = "Medians are over the members that reach a threshold. An iteration is a step of the latent."
    return _table(head, rows, n_text=2) + f"\n\n{note}"


def bars_table(bars: Sequence[AcceptanceCriterion]) -> str:
    """What must be reached, and whether it is."""
    rows = [(bar.what, bar.value, bar.target, bar.verdict) for bar in bars]
    return _table(("", "got", "bar", "met"), rows)


def off_the_bar(run: Found) -> list[str]:
    """How many members end well, and those that do not."""
    if run.results is None:
        return [f"{run.plan.name}: {run.state}."]
    rest = members_off_the_bar(run.results)
    n = run.ended + run.failed
    said = (
        f"Of the {n} members of {run.plan.name} that ended or failed, {n - len(rest)} end with {GOOD}, which is "
        f"{100 * (1 - len(rest) / n):.3g} %."
    )
    if not run.is_whole:
        said += f" The run is not complete: {run.state}."
    if rest.empty:
        return [said]
    rows = [
        (f"{member}", row.status, row.reason, _number(row.time_mean), _number(row.accuracy), f"{row.unseen}")
        for member, row in rest.iterrows()
    ]
    head = ("member", "status", "reason", "J", "accuracy", "unseen cells")
    note = (
        "Unseen are cells of the wells that are wrong and of which the generator is certain to the last digit: there "
        "its tanh is flat in double precision, and no gradient moves them."
    )
    return [said, "Those that do not:", _table(head, rows, n_text=3), *([note] if rest.unseen.any() else [])]


def wells_alone(run: Found) -> list[str]:
    """How many members have right facies where nothing but the wells counts."""
    if run.results is None:
        return []
    accuracy = ends(run.results).accuracy
    n, n_right = len(accuracy), int((accuracy >= ACCURACY_BAR).sum())
    if n_right == n:
        return []
    return [f"With nothing but the wells' facies to meet, {n_right} of the {n} members of {run.plan.name} that ended "
            f"come to an accuracy of {ACCURACY_BAR:g} or more near their draws: it is not the flow alone that keeps "
            "facies wrong."]  # fmt: skip


def restarted(run: Found) -> list[str]:
    """How many members needed other draws."""
    if run.results is None or not has(run.results.dataset, "n_starts"):
        return []
    n_starts = run.results.dataset.n_starts.values
    again, often = (int((n_starts > n).sum()) for n in (1, 2))
    return [f"Of the {len(n_starts)} members of {run.plan.name} that ended, {again} began again from another draw of "
            f"the prior, {often} of them more than once."]  # fmt: skip


def standing_table(runs: Sequence[Results]) -> str:
    """Median and worst member of each method at some costs."""
    found = {run.plan.method: histories(run) for run in runs if has_histories(run)}
    if not found:
        return "None of the methods has run."
    most = max(float(np.nanmax(of.cost)) for of in found.values())
    costs = np.array([cost for cost in _COSTS if cost <= 2 * most], dtype=float)
    named = [f"{method} ({len(of.cost)})" for method, of in found.items()]
    head = ["cost", *(f"{name}: {what}" for what in ("objective", "J") for name in named)]
    columns = [
        [_median_and_worst(each) for each in of.standing(values, costs).T]
        for name in ("objective", "time_mean")
        for of in found.values()
        for values in [getattr(of, name)]
    ]
    rows = [(f"{cost:g}", *cells) for cost, *cells in zip(costs, *columns, strict=True)]
    note = "Each cell is the median / the worst of the members that ended, whose number stands in brackets."
    return _table(head, rows, n_text=1) + f"\n\n{note}"


def equal_cost_table(adam: Found, newton: Found) -> str:
    """Member by member, what gauss-newton needs for the objective that Adam ends with."""
    rows = compared(adam, newton)
    if rows is None:
        return f"Nothing to compare. {adam.plan.name}: {adam.state}. {newton.plan.name}: {newton.state}."
    cells = [(f"{member:g}", *map(_number, numbers)) for member, *numbers in rows.to_numpy(dtype=float)]
    head = ("member", "Adam's last objective", "Adam's cost", "gauss-newton's cost to it", "part")
    note = (
        f"The median part is {_number(float(np.median(rows.part)))}. Members that ended in both are compared, from the "
        "same draw; where gauss-newton's cost is 1, Adam ended no better than it began."
    )
    return _table(head, cells) + f"\n\n{note}"


def coverage_table(runs: Sequence[Found]) -> str:
    """How often P10 to P90 of the forecast hold the truth, of the methods that sample."""
    rows = []
    for run in runs:
        if run.results is not None and run.plan.method not in ("adam", "gauss-newton"):
            dataset = run.results.dataset
            curves = forecast_coverage(dataset, last(dataset))
            if curves:
                expected = expected_coverage(dataset.sizes["member"])
                mean = float(np.mean(list(curves.values())))
                rows.append((run.plan.name, f"{100 * mean:.3g}", f"{100 * expected:.3g}"))
    if not rows:
        return ""
    said = (
        "How often P10 to P90 of the forecast past the history hold the truth, all curves and times together, of the "
        "methods that sample. It is one truth, and its curves hang together: an ensemble as wide as it should be holds "
        "the expected part over many truths, and may hold anything from nothing to all of one."
    )
    return f"{said}\n\n" + _table(("run", "held, %", "expected, %"), rows, n_text=1)


def times_text(times: Mapping[str, Any]) -> list[str]:
    """Core-minutes of a member, and members side by side, where they were measured."""
    if not times:
        return ["Not measured."]
    minutes, of = np.array(times["member_cpu_seconds"]) / 60, times["scaling"]
    n_above = int(np.isinf(minutes).sum())
    return [
        "By `python -m benchmarks.matching.match matches/published-gauss-newton`, with nothing else of ours running, "
        f"at commit {str(times['git_commit'])[:10]}.",
        f"A member with flow and wells takes {_spread(minutes)} core-minutes to J ≤ {TIME_MEAN_THRESHOLD:g}, over "
        f"{len(minutes)} members{f', of which {n_above} end above it' if n_above else ''}.",
        f"{of['members']} members, each with at most {of['jacobians']} Jacobians, take {to_text(of['one'])} s on one "
        f"core and {to_text(of['two'])} s on two: {of['one'] / of['two']:.2f} times as fast. More than twice would be "
        "noise, of a machine that other machines share their cores with.",
    ]


def valley_text(path: Path, run: Found) -> list[str]:
    """The residuals' Jacobian where a step takes off little and where it takes off much."""
    if not path.is_file():
        return ["Not measured; `python -m benchmarks.matching.valley matches/published-gauss-newton` does."]
    valley = read_json(path)
    # "bent" is the name that version 0.1.0 of the benchmark wrote.
    iterates = [{"corrected" if key == "bent" else key: of for key, of in each.items()} for each in valley["iterates"]]
    ranks = [f"singular value {rank}" for rank in valley["ranks"]]
    rows = [
        (
            *(str(of[name]) for name in ("kind", "member", "iterate")),
            *map(to_text, (of["flow"], *of["singular_values"])),
            *(f"{100 * of[name]:.3g}" for name in ("pressure", "straight", "corrected")),
        )
        for of in iterates
    ]
    head = ("a step", "member", "iterate", "flow term", *ranks, "pressure, %", "straight, %", "corrected, %")
    medians = 100 * pd.DataFrame(iterates).groupby("kind")[["straight", "corrected"]].median()
    said = "; ".join(
        f"where it {kind}, {to_text(of.straight)} % straight and {to_text(of.corrected)} % corrected"
        for kind, of in medians.iterrows()
    )
    is_of_now = (
        run.results is not None and run.results.whole.attrs["checkpoints_sha256"] == valley["checkpoints_sha256"]
    )
    of_before = "" if is_of_now else f" These are members of before; {run.plan.name} has others now."
    return [
        f"By `python -m benchmarks.matching.valley matches/{valley['run']}`: iterates far from the observations, of an "
        f"objective below {LOSS_THRESHOLD:,.0f}, at which the first step of a Jacobian took off less than 5 % of the "
        "objective (it creeps) or more than 30 % (it goes). Pressure is the part that the injector's pressures have in "
        "the first singular vector of the residuals. The last two columns are what the best step from there takes off "
        "where its predicted reduction is that of the first of a start, straight or corrected to second order; the "
        "run's own step had the predicted reduction that the steps before it had come to, and took off less or more.",
        _table(head, rows, n_text=1),
        f"In the median {said}.{of_before}",
    ]


def _table(head: Iterable[str], rows: Iterable[Sequence[str]], n_text: int = 1) -> str:
    head = list(head)
    lines = [head, [" --- " if i < n_text else " ---: " for i in range(len(head))]]
    # What a run says of itself may hold a bar or a line's end.
    lines += [[" ".join(cell.split()).replace("|", r"\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(cell.strip() for cell in line)} |" for line in lines)


def _spread(values: Float[np.ndarray, " m"]) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return _NONE
    middle, low, high = (to_text(float(each)) for each in (np.median(known), known.min(), known.max()))
    return middle if low == high else f"{middle} ({low}–{high})"


def _median_and_worst(values: Float[np.ndarray, " m"]) -> str:
    if not np.isfinite(values).all():
        return _NONE
    return f"{to_text(float(np.median(values)))} / {to_text(float(values.max()))}"


def _percent(parts: Float[np.ndarray, " m"]) -> str:
    known = parts[np.isfinite(parts)]
    return f"{100 * known.mean():.3g}" if len(known) else _NONE


def _number(value: float) -> str:
    return "never" if np.isinf(value) else _NONE if np.isnan(value) else to_text(float(value))
