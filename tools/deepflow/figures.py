"""The pictures of the report on DeepFlow's case: its runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from rockbank.matching.results.diagnostics import LOSS_THRESHOLD, TIME_MEAN_THRESHOLD
from rockbank.matching.results.plots.style import COLOURS, LIMIT, TRUTH, to_text
from rockbank.plot.figures import BLUE, GREEN, GREY, ORANGE, drawing, tidy
from tools.deepflow.numbers import ACCURACY_PUBLISHED, PUBLISHED, ends, histories
from tools.deepflow.runs import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The published values, in all pictures.
PAPER = ORANGE
PURPLE = "#CC79A7"
METHODS = {"adam": ORANGE, "gauss-newton": BLUE, "rml": GREEN, "es-mda": PURPLE}
_ROW, _PER_DECADE = 0.42, 8


def draw_losses(path: Path, runs: Sequence[Results], *, with_paper: bool) -> None:
    """Histograms of the final J and loss as published, a run to a row; the paper's range above its row."""
    found = {run: ends(run) for run in runs}
    with drawing(path, (9.0, 0.9 + 1.15 * len(found))) as figure:
        axes = figure.subplots(len(found), 2, sharex="col", squeeze=False)
        for column, (name, label) in enumerate((("time_mean", "J"), ("loss", "loss as published"))):
            values = {each: getattr(of, name) for each, of in found.items()}
            known = np.concatenate([each[np.isfinite(each) & (each > 0)] for each in values.values()])
            low, high = int(np.floor(np.log10(known.min()))), int(np.ceil(np.log10(known.max())))
            edges = np.logspace(low, high, _PER_DECADE * (high - low) + 1)
            for axis, (run, of) in zip(axes[:, column], values.items(), strict=True):
                weights = np.full(len(of), 100 / len(of))
                colour = COLOURS["prior" if run.plan.scenario == 1 else "posterior"]
                axis.hist(of, list(edges), weights=weights, color=colour, alpha=0.7)
                axis.axvline(float(np.median(of)), color=TRUTH, linewidth=1.2)
                axis.set_title(f"median {to_text(float(np.median(of)))}", loc="right", fontsize=8)
                paper = getattr(PUBLISHED[run.plan.scenario], name) if with_paper else None
                if paper is not None:
                    _draw_range(axis, paper)
                axis.set_xscale("log")
                axis.set_ylim(0, 1.35 * axis.get_ylim()[1])
                tidy(axis)
                if column == 0:
                    axis.set_title(run.plan.label, loc="left", fontsize=9)
                    axis.set_ylabel("%")
            if name == "time_mean":
                for axis in axes[:, column]:
                    axis.axvline(TIME_MEAN_THRESHOLD, color=LIMIT, linestyle="--", linewidth=1.2)
            axes[-1, column].set_xlabel(label)
        said = f"black: median of the members; green: J = {TIME_MEAN_THRESHOLD:g}"
        figure.suptitle(
            said + ("; orange: the paper's range and median, approximate" if with_paper else ""), fontsize=9
        )


def _draw_range(axis: Axes, paper: tuple[float, float | None, float]) -> None:
    low, middle, high = paper
    at = 1.12 * axis.get_ylim()[1]
    axis.plot([low, high], [at, at], color=PAPER, linewidth=2.5, solid_capstyle="butt")
    if middle is not None:
        axis.plot([middle], [at], "o", color=PAPER, markersize=6)


def draw_wells(path: Path, runs: Sequence[Results], *, with_paper: bool) -> None:
    """Every member's accuracy at the wells; and the parts that are connected, before and after a dilation."""
    found = {run: ends(run) for run in runs}
    with drawing(path, (9.0, 1.3 + _ROW * len(found))) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for row, (run, of) in enumerate(found.items()):
            colour = COLOURS["prior" if run.plan.scenario == 1 else "posterior"]
            # Spread by their places, so that the same data make the same picture.
            offset = np.linspace(-0.28, 0.28, len(of.accuracy)) if len(of.accuracy) > 1 else np.zeros(1)
            left.plot(of.accuracy, row + offset, "o", color=colour, markersize=3, alpha=0.6)
            middle = float(np.median(of.accuracy))
            left.plot([middle, middle], [row - 0.38, row + 0.38], color=TRUTH, linewidth=2)
            paper = PUBLISHED[run.plan.scenario]
            for shift, part, alpha, value in (
                (-0.19, of.before, 0.4, paper.before),
                (0.19, of.after, 0.85, paper.after),
            ):
                right.barh(row + shift, 100 * float(part.mean()), 0.36, color=colour, alpha=alpha)
                if with_paper and value is not None:
                    right.plot([value], [row + shift], "D", color=PAPER, markersize=6, zorder=3)
        left.axvline(ACCURACY_PUBLISHED, color=LIMIT, linestyle="--", linewidth=1.2)
        left.set(xlabel=f"facies right at the wells, part; green: {ACCURACY_PUBLISHED:g}", xlim=(None, 1.01))
        left.set_yticks(range(len(found)), [run.plan.label for run in found])
        left.set_ylim(len(found) - 0.5, -0.5)
        right.set(xlabel="% of members whose wells are connected", xlim=(0, 102))
        said = "points: members, black: their median; bars: before (pale) and after one dilation"
        figure.suptitle(said + ("; orange: the paper's, approximate" if with_paper else ""), fontsize=9)
        for axis in (left, right):
            tidy(axis)


def draw_iterations(path: Path, runs: Sequence[Results], *, with_paper: bool) -> None:
    """The members' loss as published and J after each iteration, a run to a column, with the thresholds."""
    found = {run: histories(run) for run in runs}
    with drawing(path, (max(6.0, 0.7 + 2.2 * len(found)), 5.6)) as figure:
        axes = figure.subplots(2, len(found), sharey="row", sharex="col", squeeze=False)
        for column, (run, of) in zip(axes.T, found.items(), strict=True):
            panels = (("loss as published", of.loss, LOSS_THRESHOLD), ("J", of.time_mean, TIME_MEAN_THRESHOLD))
            for axis, (label, values, threshold) in zip(column, panels, strict=True):
                for each in values:
                    axis.plot(each, color=COLOURS["posterior"], linewidth=0.8, alpha=0.45)
                axis.axhline(threshold, color=LIMIT, linestyle="--", linewidth=1.5)
                reached = of.to(values, threshold)
                said = f"{reached.n} of {len(values)} reach {threshold:g}"
                if reached.n:
                    middle = float(np.nanmedian(reached.iterations))
                    axis.plot([middle], [threshold], "o", color=TRUTH, markersize=6, zorder=3)
                    said += f",\nmedian after {middle:g}"
                axis.set_title(said, fontsize=8)
                paper = PUBLISHED[run.plan.scenario].iterations
                if with_paper and label != "J" and paper is not None:
                    axis.plot([paper], [threshold], "D", color=PAPER, markersize=6, zorder=3)
                axis.set_yscale("log")
                tidy(axis)
                if axis is column[0]:
                    title = fill(run.plan.label, 22, break_on_hyphens=False)
                    axis.annotate(title, (0.5, 1.24), xycoords="axes fraction", ha="center", fontsize=9, weight="bold")
                if run is next(iter(found)):
                    axis.set_ylabel(label)
            column[1].set_xlabel("iterations")
        said = "green: thresholds; black point: the median member's first iterate there"
        figure.supxlabel(said + ("; orange: the paper's mean" if with_paper else ""), fontsize=9)


def draw_interpolation_losses(path: Path, runs: Sequence[Results]) -> None:
    """Objective and J on the great circles between a run's three best members, round about."""
    n_columns = min(3, len(runs))
    n_rows = -(-len(runs) // n_columns)
    with drawing(path, (9.0, 0.7 + 2.5 * n_rows)) as figure:
        axes = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).ravel()
        for axis, run in zip(axes, runs, strict=False):
            segments = run.whole.segment_members.transpose("segment", "end").values
            n_segments, n_points = run.whole.sizes["segment"], run.whole.sizes["point"]
            along = (np.arange(n_segments)[:, None] + np.linspace(0, 1, n_points)).ravel()
            for name, label, colour in (
                ("interpolation_total", "objective", COLOURS["posterior"]),
                ("interpolation_time_mean", "J", TRUTH),
            ):
                values = run.whole[name].transpose("segment", "point").values.ravel()
                axis.plot(along, values, "o-", color=colour, markersize=3, linewidth=1.2, label=label)
            axis.axhline(TIME_MEAN_THRESHOLD, color=LIMIT, linestyle="--", linewidth=1.2)
            axis.set_xticks(range(n_segments + 1), [str(member) for member in (*segments[:, 0], segments[-1, 1])])
            axis.set(yscale="log", xlabel="member", xlim=(0, n_segments))
            axis.set_title(run.plan.label, fontsize=10)
            tidy(axis)
        for axis in axes[len(runs) :]:
            axis.set_visible(False)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False,
                      fontsize=9)  # fmt: skip


def draw_methods(path: Path, runs: Sequence[Results]) -> None:
    """Median and worst member of each method at any cost: the objective and J."""
    found = {run: histories(run) for run in runs}
    with drawing(path, (9.0, 4.0)) as figure:
        axes = figure.subplots(1, 2)
        for axis, (name, label) in zip(axes, (("objective", "objective"), ("time_mean", "J")), strict=True):
            for run, of in found.items():
                at = np.unique(of.cost[np.isfinite(of.cost)])
                stands = of.standing(getattr(of, name), at)
                is_begun = np.isfinite(stands).all(axis=0) & (at > 0)
                _draw_method(axis, at[is_begun], stands[:, is_begun], run.plan.method)
            axis.set(xscale="log", yscale="log", xlabel="cost of a member, forward runs", ylabel=label)
            tidy(axis)
        axes[1].axhline(TIME_MEAN_THRESHOLD, color=GREY, linestyle=":", linewidth=1.2)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False,
                      fontsize=9)  # fmt: skip


def _draw_method(axis: Axes, at: Float[np.ndarray, " n"], stands: Float[np.ndarray, "m n"], method: str) -> None:
    colour = METHODS[method]
    axis.step(at, np.median(stands, axis=0), where="post", color=colour, linewidth=2, label=f"{method}, median")
    axis.step(at, stands.max(axis=0), "--", where="post", color=colour, linewidth=1.2, label=f"{method}, worst")
