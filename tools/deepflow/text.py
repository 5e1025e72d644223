"""The report on DeepFlow's case in words and tables, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rockbank.matching.problem.cost import COST
from rockbank.matching.results.diagnostics import has, truth_is_connected
from tools.deepflow.bars import core_minutes, equal_cost, good_members, read_times, scaling
from tools.deepflow.runs import GROUPS, Found, between
from tools.deepflow.tables import (
    bars_table,
    coverage_table,
    ends_table,
    equal_cost_table,
    off_the_bar,
    reached_table,
    restarted,
    standing_table,
    state_table,
    times_text,
    valley_text,
    wells_alone,
)

# What each picture shows, in the order of the report.
CAPTIONS = {
    "curves": "Production curves: the band holds 80 % of the members, and all where they are fewer than nine. The axes "
    "are cut near what was observed, which the prior goes far beyond.",
    "maps": "Facies: mean and standard deviation of the members, with the truth's outline and the wells (white).",
    "losses": "Losses that the members end with.",
    "iterations": "The members' histories until the thresholds.",
    "wells": "Facies at the wells, and whether sand connects them.",
    "slerp": "Losses along great circles between the three best members of each run, round about: where they are high, "
    "the solutions lie apart.",
    "sections": "The same for {run}, with the sections on the way.",
    "evolution": "The best member of {run} on its way.",
}
_WORDS = """\
- **J** is the mean over time of Σ (r / σ)² / 4 of the three curves, as the paper intended it. At the truth, noise
  alone leaves 0.75 in the mean and 0.6 to 0.9 mostly.
- The **objective** is the negative log posterior, 0.5 Σ (r / σ)² + Σ cross-entropies at the wells + 0.5 |z|², of the
  terms that a run counts: compare it between runs of the same scenario.
- The **loss as published** is J + Σ cross-entropies + 0.5 |z|² / n, n the length of z, again of the terms that a run
  counts. The published code left the oil out of J by mistake; ours is with it. It weighs the production data
  74 times less against the wells' facies than the objective does, so that Adam on the one and on the other are two
  different matches. published-adam-loss has the paper's weights, with the exact gradient, the oil and each rock's own
  indices of the wells, where the published code took that of the porosity alone, of length one and of the other sign,
  no oil, and the reference rock's indices for all.
- **Accuracy** is the part of the wells' cells whose facies is right; **connected**, whether a path of sand leads from
  injector to producer, before and after one dilation.
- **Cost** is in forward runs: a gradient counts as {gradients:g}, a Jacobian as {jacobians:g}, a reduced one as
  {reduced:g}, an evaluation there and back of the generator alone as {generator_evaluations:g}, as
  `python -m benchmarks.matching.match` measured on this case.{tight}
- Numbers are medians of the members that ended, with the least and the greatest in brackets. Those that reached their
  **iteration limit** had not come to rest.
"""
_PAPER = """\
Rows in italics are the paper's, read off its figures and approximate; it has 100 members to a scenario. Which loss its
histograms show is a guess: of the prior it is taken for J, since the facies of a draw cost hundreds at the wells and
the least of those losses is 5; else for the one above. Its connected members before the dilation are 21 % for the
prior, 27 % for the wells and 44 % for a third scenario, of which we do not know whether it is the third or the fourth.
"""
_READ = """How to read it:

- Scenario 2 fits the wells' facies as near as can be to each member's own draw of the prior. The optimum of the
  objective itself is one and the same point for all members, and of no use as an ensemble.
- Gauss-newton ends when the observations are met to within their noise and the wells' facies are right, when it
  creeps, or after 40 Jacobians; so |z|² has not fallen far from that of the draws. It does not end farther out than
  all but a millionth of the draws: two members with the flow alone met the observations at a |z|² of 306 and 762, and
  began again. Driven on to the very optimum, in a sketch with the reference rock's indices of the wells, |z|² fell to 4
  to 6, to a mean rock that no draw looks like. Its members are good fits, and no samples: how far their forecasts
  spread says nothing about how sure one may be. For that there is rml.
- rml goes on to the optimum of its perturbed observations; members that reached their iteration limit have not come to
  it, and are samples for what they are worth. The wells' facies are not perturbed, which makes it somewhat narrow (see
  the calibration).
- es-mda takes all members together by linear regression among them. With as many members as the latent has numbers it
  collapses: |z|² is far below that of the draws. es-mda-localised, which damps correlations that are no larger than
  chance's, did not move at all where it was tried: of 100 draws, too few of the correlations are larger.
"""
_HOLDS = """What sticks and what helps, as tried on this case; numbers without a command were measured once by hand:

- All terms at once from a random draw: J falls to 1 to 3, with half of the wells' facies wrong, and sticks. Fitting the
  wells first, without the simulator, and keeping their weight up while the flow's term is large, holds the accuracy.
  A sketch that raised the flow's weight in steps instead, with the reference rock's indices of the wells, took 23 to 32
  Jacobians and 50 to 66 runs from four starts to a J of 0.8 to 1.8; that is a cost of 360 to 490.
- The valley is narrow: the first singular value of the residuals' Jacobian, of the injector's pressure, is hundreds of
  times its sixth (below). Long steps climb its wall; damping by the model's own promise finds the length in one or two
  runs, and bending a step after the valley gains where the wall is curved, which it is not everywhere.
- Broyden's update serves some steps for a run each, where a Jacobian costs thirteen. And most Jacobians need not be
  whole: of 111 residuals, the 24 directions that the Jacobian before showed most of, and the residual itself, hold
  nearly all. In two members followed from Jacobian to Jacobian, each reduced one made of the one before, an undamped
  step of it promised 96 % or more of what the whole one's did, a damped one all, after 13 in a row.
- A Jacobian of every second report step, the rest interpolated, is 1 to 2 % off, which costs up to all of what an
  undamped step promises, for half of its price: not kept.
- What still creeps far from the observations is in a wrong valley, and only another draw leads out of it.
"""


def to_markdown(runs: Sequence[Found], pictures: Sequence[str], reports: Path) -> str:
    """The report.

    Args:
        runs: all that it asks for, be they there or not.
        pictures: names of the pictures that there are.
        reports: the folder of calibration.md, deepflow/times.json and deepflow/valley.json, where they are.
    """
    named = {run.plan.name: run for run in runs}
    by_group = {group: [run for run in runs if run.plan.group == group] for group in GROUPS}
    times = read_times(reports / "deepflow" / "times.json")
    bars = [
        good_members(named["published-gauss-newton"]),
        equal_cost(named["published-adam"], named["published-gauss-newton"]),
        core_minutes(times),
        scaling(times),
    ]
    parts = [
        "# DeepFlow's history match, done again",
        "[DeepFlow](https://arxiv.org/abs/1905.05749) (Mosser, Dubrule and Blunt) by `rockbank match`. "
        "Written by `python -m tools.deepflow` from the results in matches/; [below](#commands) are the commands that "
        "make them.",
        "## In short",
        bars_table(bars),
        "What the words mean:",
        _WORDS.format(**COST, tight=_tight(times)),
        "## What was run",
        "Scenarios as in the paper: 1 the prior, 2 the wells' facies, 3 the production data, 4 both.",
        state_table(runs),
        "## The published generator and observations",
        ends_table(by_group["published"], with_paper=True),
        _PAPER + _truth(by_group["published"]),
        "### Iterations and cost",
        reached_table(by_group["published"], with_paper=True),
        "### Pictures",
        "By their content these redraw the paper's figures of production curves, facies maps, losses, iterations, "
        "wells and interpolation; its own numbering is not claimed.",
        *_pictures("published", by_group["published"], pictures),
        _READ,
        "## Gauss-newton with flow and wells",
        *off_the_bar(named["published-gauss-newton"]),
        "### Where it creeps, and what holds",
        *restarted(named["published-gauss-newton"]),
        _HOLDS,
        *valley_text(reports / "deepflow" / "valley.json", named["published-gauss-newton"]),
        "## Methods at equal cost",
        *_methods(named, by_group, pictures),
        "## Our own generator and observations",
        "The channels generator of 800 steps (KID 3.64) on cases/deepflow.yaml, whose truth is a section of our own. "
        "It is not the one that ships today: with today's channels@champion the commands below give other members.",
        ends_table(by_group["own"], with_paper=False),
        _truth(by_group["own"]),
        "### Iterations and cost of our own",
        reached_table(by_group["own"], with_paper=False),
        *off_the_bar(named["own-gauss-newton"]),
        *wells_alone(named["own-wells"]),
        "### Pictures of our own",
        *_pictures("own", by_group["own"], pictures),
        "## Calibration",
        _calibration(reports),
        coverage_table(runs),
        "## Time",
        *times_text(times),
        "## Commands",
        "The published generator comes into the registry by",
        "    rockbank import generator_facies_multichannel_4_6790.pth --network deepflow --family channels "
        "--name deepflow-published --as deepflow",
        "Each import is another version, of which the newest is deepflow@candidate; those of the same weights make the "
        "same members. A run that was stopped goes on by `rockbank match resume matches/NAME`. The commit is the one "
        "at which a run's results were gathered from its members.",
        *map(_command, runs),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def _tight(times: Mapping[str, Any]) -> str:
    """What a run of a closer tolerance takes, which `COST` does not tell apart."""
    of = times.get("equivalents", {}).get("tight")
    if of is None:
        return ""
    return (
        " All forward runs count as one; those of es-mda, and of gauss-newton near the\n"
        f"  observations, are closer than Adam's and take {of:.2g} times as long."
    )


def _pictures(group: str, runs: Sequence[Found], pictures: Sequence[str]) -> list[str]:
    shown = between([run.results for run in runs if run.results is not None])
    name_of_shown = "" if shown is None else shown.plan.name
    return [
        f"![{name}](../docs/pictures/deepflow_{group}_{name}.png)\n\n{caption.format(run=name_of_shown)}"
        for name, caption in CAPTIONS.items()
        if f"deepflow_{group}_{name}.png" in pictures
    ]


def _methods(named: dict[str, Found], by_group: dict[str, list[Found]], pictures: Sequence[str]) -> list[str]:
    said = []
    for group, runs in by_group.items():
        both = [run.results for run in runs if run.plan.is_compared and run.results is not None]
        name = f"deepflow_{group}_methods.png"
        said.append(f"### With the {'published' if group == 'published' else 'own'} generator")
        if name in pictures:
            caption = (
                "Where the members stand at any cost, each where its last iterate before it left it. The objective of "
                "rml is each member's own, with perturbed observations and another prior mean; J is of the real "
                "observations for all. A member that begins again from another draw leaps up."
            )
            said += [f"![Objective and J against cost](../docs/pictures/{name})\n\n{caption}"]
        said.append(standing_table(both))
    for adam, newton in (
        ("published-adam", "published-gauss-newton"),
        ("published-flow-adam", "published-flow-gauss-newton"),
        ("own-adam", "own-gauss-newton"),
    ):
        said += [f"### {newton} against {adam}", equal_cost_table(named[adam], named[newton])]
    return said


def _truth(runs: Sequence[Found]) -> str:
    for run in runs:
        if run.results is not None and has(run.results.whole, "truth_facies"):
            before, after = (truth_is_connected(run.results.whole, n) for n in (0, 1))
            said = {True: "connects", False: "does not connect", None: "is not known to connect"}
            return f"\nIn the truth sand {said[before]} the wells before the dilation and {said[after]} them after it."
    return ""


def _calibration(reports: Path) -> str:
    made = "`python -m benchmarks.matching.calibration`"
    if (reports / "calibration.md").is_file():
        return f"On a small case, against long Markov chains: [calibration.md](calibration.md), by {made}."
    return f"The comparison with long Markov chains on a small case has not been made; {made} makes it."


def _command(run: Found) -> str:
    said = [f"{run.plan.name}: {run.state}."]
    if run.results is not None:
        of = run.results.whole.attrs
        weights = f", whose weights' SHA-256 is {run.weights_sha256[:12]}" if run.weights_sha256 else ""
        said.append(f"Made with the generator {of['generator']}{weights}, and gathered at commit "
                    f"{str(of.get('git_commit', 'unknown'))[:10]}.")  # fmt: skip
    return " ".join(said) + f"\n\n    {run.command}"
