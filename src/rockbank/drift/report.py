"""The report on new scans: one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt

from rockbank.core import html
from rockbank.core.files import write_text
from rockbank.core.html import Advice, Facts, Figure, Table
from rockbank.data.grey_scale import PERCENTILES
from rockbank.drift.compare import STATISTICS, Compared, Drift, Profile, words
from rockbank.drift.distances import MARGIN, N_RESAMPLES, QUANTILE
from rockbank.drift.scans import Plan, about, retrain_commands
from rockbank.plot.figures import BLUE, ORANGE, empty_figure, tidy, to_png
from rockbank.plot.grids import grid
from rockbank.rock.crops import to_intensity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEAD = ("statistic", "new", "reference", "Wasserstein", "limit", "KS", "limit", "verdict")
NEW, REFERENCE = "new scans", "reference"
WIDTH = 9.0
N_SHOWN = 16
# Crops side by side: four by four of 64 pixels fill half the page.
N_COLUMNS = 4


def write_report(path: Path, drift: Drift) -> None:
    """Write the page to `path`, whole or not at all."""
    write_text(path, to_html(drift))


def rows(drift: Drift) -> list[tuple[str, ...]]:
    """A row for each statistic, as `HEAD` names its columns."""
    return [_row(name, each) for name, each in drift.compared.items()]


def to_html(drift: Drift) -> str:
    """The page: what came of it in words and in a table, the pictures, what to do, and where it all comes from."""
    marked = [i for i, each in enumerate(drift.compared.values()) if each.is_over]
    advice = (
        "Look at the pictures first: another exposure, resolution or holder is mended in the scan. Where it is rock "
        "that the generators are to know, add it and train again:"
        if drift.over
        else "Nothing has to be done. To let the generators learn from these scans as well:"
    )
    sections = [
        Table(head=HEAD, rows=rows(drift), note=_NOTE, marked=marked),
        Advice(title="What to do", text=advice, commands="\n".join(retrain_commands(drift.plan))),
        *_pictures(drift),
        Facts(title="What was compared", facts=about(drift.plan)),
    ]
    return html.to_html(f"Drift: {', '.join(path.name for path in drift.plan.request.paths)}", words(drift), sections)


_NOTE = (
    "New and reference are means; those of grey on each set's own scale. Wasserstein is the area between the two "
    "distributions, in the statistic's unit (parts of the grey scale, probability, or 1/pixel); KS is Kolmogorov and "
    f"Smirnov's distance, the largest gap between them, 0 to 1. A limit is {MARGIN:g} times what {100 * QUANTILE:g} % "
    f"of {N_RESAMPLES} pairs of sets of the reference itself keep below."
)


def _row(name: str, each: Compared) -> tuple[str, ...]:
    found, limits = each.distances, each.limits
    numbers = (each.new, each.reference, found.wasserstein, limits.wasserstein, found.ks, limits.ks)
    verdict = "over" if each.is_over else "within"
    return (STATISTICS[name], *(f"{number:.3g}" for number in numbers), verdict)


def _pictures(drift: Drift) -> Iterator[Figure]:
    crops = drift.plan.reference.crops
    yield Figure(
        name="crops",
        title="Crops",
        caption="Chosen at random.",
        png=_draw_crops(drift.plan.new.crops, None if crops is None else crops.crops),
    )
    if drift.reference is not None:
        yield Figure(
            name="grey",
            title="Grey values",
            caption=f"Of all pixels, on each set's own scale: its {PERCENTILES[0]:g} and {PERCENTILES[1]:g} "
            "percentiles at 0 and 1, as 'rockbank data add' normalises scans. Dotted, the thresholds of the phase.",
            png=_draw_grey(drift.profile, drift.reference, drift.plan),
        )
        yield Figure(
            name="distributions",
            title="From crop to crop",
            caption="How many of the crops have which value; what the distances in the table are between.",
            png=_draw_distributions(drift.profile, drift.reference),
        )
    yield Figure(
        name="s2",
        title="Two-point correlation of the phase",
        caption="Mean over the crops, and one standard deviation between them.",
        png=_draw_s2(drift),
    )


def _draw_crops(new: UInt[np.ndarray, "n 1 h w"], reference: UInt[np.ndarray, "m 1 h w"] | None) -> bytes:
    shown = {NEW: new} if reference is None else {NEW: new, REFERENCE: reference}
    picture = empty_figure((WIDTH, WIDTH / 2 + 0.3))
    axes = picture.subplots(1, 2, gridspec_kw={"wspace": 0.04})
    for axis in axes:
        axis.set_axis_off()
    for axis, (name, crops) in zip(axes, shown.items(), strict=False):
        # Evenly through the set, which is ordered by region.
        chosen = np.linspace(0, len(crops) - 1, min(N_SHOWN, len(crops))).astype(int)
        tiled = grid(to_intensity(np.asarray(crops[chosen])), N_COLUMNS)
        axis.imshow(tiled, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_title(name, fontsize=11)
    return to_png(picture)


def _draw_grey(new: Profile, reference: Profile, plan: Plan) -> bytes:
    picture = empty_figure((WIDTH, 3.4))
    axis = picture.subplots()
    thresholds = (plan.reference.segmentation.threshold, plan.new.segmentation.threshold)
    for (profile, name, colour), threshold in zip(_both(new, reference), thresholds, strict=True):
        _, scale = profile.on_its_scale()
        # Eight levels a bar: where a scan had fewer than 256, single ones have gaps and four of them still teeth.
        edges, parts = scale.edges[::8], np.diff(scale.cumulative[::8])
        _steps(axis, edges, parts / np.diff(edges), name, colour)
        axis.axvline(float(scale.scaled(np.array(threshold))), color=colour, linestyle=":", linewidth=1.5)
    axis.set(xlabel="grey scale", ylabel="% of pixels per hundredth", xlim=(-0.05, 1.05))
    axis.set_ylim(bottom=0)
    tidy(axis)
    axis.legend(loc="best", frameon=False, fontsize=9)
    return to_png(picture)


def _both(new: Profile, reference: Profile) -> tuple[tuple[Profile, str, str], ...]:
    return (reference, REFERENCE, BLUE), (new, NEW, ORANGE)


def _draw_distributions(new: Profile, reference: Profile) -> bytes:
    shown = {"mean": "", "std": "", "porosity": "", "specific_surface": ", 1/pixel"}
    picture = empty_figure((WIDTH, 5.2))
    all_values = [(profile.on_its_scale()[0], name, colour) for profile, name, colour in _both(new, reference)]
    for axis, (name, unit) in zip(picture.subplots(2, 2).ravel(), shown.items(), strict=True):
        both = np.concatenate([values[name] for values, _, _ in all_values])
        # A constant has no range to divide.
        edges = np.linspace(both.min(), both.max() + 1e-6, 31)
        for values, label, colour in all_values:
            counts, _ = np.histogram(values[name], edges)
            _steps(axis, edges, 100 * counts / counts.sum(), label, colour)
        axis.set(xlabel=STATISTICS[name] + unit, ylabel="% of crops")
        axis.set_ylim(bottom=0)
        tidy(axis)
    picture.axes[0].legend(loc="best", frameon=False, fontsize=9)
    return to_png(picture)


def _steps(
    axis: Axes, edges: Float[np.ndarray, " b+1"], heights: Float[np.ndarray, " b"], name: str, colour: str
) -> None:
    axis.stairs(heights, edges, fill=True, color=colour, alpha=0.25)
    axis.stairs(heights, edges, color=colour, linewidth=1.5, label=name)


def _draw_s2(drift: Drift) -> bytes:
    picture = empty_figure((WIDTH, 4.0))
    axis = picture.subplots()
    curves = drift.profile.curves
    mean, std = _reference_band(drift.reference, drift.plan.reference.described)
    lags = np.arange(len(mean))
    axis.fill_between(lags, np.maximum(mean - std, 0), mean + std, color=BLUE, alpha=0.18, linewidth=0)
    axis.plot(lags, mean, color=BLUE, linewidth=2, label=f"{REFERENCE} ± 1 std")
    new_mean, new_std = curves.mean(axis=0), curves.std(axis=0)
    for edge in (np.maximum(new_mean - new_std, 0), new_mean + new_std):
        axis.plot(edge, ":", color=ORANGE, linewidth=1)
    axis.plot(new_mean, "--", color=ORANGE, linewidth=2, label=f"{NEW} ± 1 std")
    axis.set(xlabel="lag r, pixels", ylabel="S2(r), probability", xlim=(0, max(len(mean), len(new_mean)) - 1))
    axis.set_ylim(bottom=0)
    tidy(axis)
    axis.legend(loc="best", frameon=False, fontsize=9)
    return to_png(picture)


def _reference_band(
    reference: Profile | None, described: Mapping[str, Mapping[str, list[float]]]
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, " r"]]:
    if reference is not None:
        return reference.curves.mean(axis=0), reference.curves.std(axis=0)
    return np.asarray(described["two_point"]["mean"]), np.asarray(described["two_point"]["std"])
