"""The shale paper's Table 2 with our rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rockbank.core.errors import InputError

# FID, and KID with its deviation, of 100 images against 100 by InceptionV3; the KID's scale is not stated there.
PAPER = {"real": ("16.63", "5.11 ± 0.19"), "WGAN-GP": ("91.12", "6.38 ± 0.57"), "DCGAN": ("136.51", "11.73 ± 0.84")}
REAL = "real"
ABSENT = "-"
# Title of a column, key of `network_free` and factor.
NETWORK_FREE = (
    ("grey values", ("grey_distance", 255.0)),
    ("spectrum", ("spectrum_distance", 1.0)),
    ("lineal path", ("lineal_path_distance", 1.0)),
    ("porosity, ratio", ("porosity_ratio", 1.0)),
    ("surface, ratio", ("specific_surface_ratio", 1.0)),
    ("connectivity, ratio", ("connectivity_ratio", 1.0)),
)


def table2(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Table 2 as markdown: real against real, then each generator, beside the paper's own numbers.

    A second table has what another extractor and what no network says of the same samples.

    Args:
        scores: from a row's label to what `score` returned. A label that contains "WGAN-GP" or "DCGAN",
            in any case, stands beside the paper's row of that name. The row of real against real is
            that of the first.

    Raises:
        InputError: where the rows were measured with different extractors or sample counts.
    """
    if not scores:
        raise InputError("table 2 has no rows; score a generator first")
    first = next(iter(scores.values()))
    _check_alike(scores)
    n_paper, n_large, extractor = first["paper"]["n"], first["large"]["n"], first["extractor"]
    head = (
        "",
        f"FID, N = {n_paper}",
        f"KID x 1000, N = {n_paper}",
        f"FID, N = {n_large}",
        f"KID x 1000, N = {n_large}",
        f"FID, N to infinity from {n_large}",
        f"S2 distance, N = {n_large}",
        "paper: FID, N = 100, Inception",
        "paper: KID, N = 100, Inception, scale not stated",
    )
    rows = [_row(REAL, first["real_against_real"]), *(_row(label, each) for label, each in scores.items())]
    lines = [_line(head), _line(["---"] + ["---:"] * (len(head) - 1)), *map(_line, rows)]
    notes = (
        f"Extractor of our columns: {extractor}. KID is unbiased, ± its standard deviation over subsets of "
        f"{first['paper']['kid_subset_size']} (N = {n_paper}) and {first['large']['kid_subset_size']} "
        f"(N = {n_large}). FID is biased up by a term that grows as N falls, and what of it the extrapolation "
        "leaves stands in the row of real against real: training crops against test crops, from regions "
        "of their own. The paper's data are not public and its extractor is another: read its columns as an "
        "order, not as values to meet."
    )
    return "\n".join([*lines, "", notes, "", *_beside(scores), ""])


def _beside(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    first = next(iter(scores.values()))
    second = first["second_extractor"]
    head = [
        "",
        *(() if second is None else ("FID, second extractor", "KID x 1000, second extractor")),
        *(title for title, _ in NETWORK_FREE),
        "S2 inside",
        "lineal path inside",
        "spectrum inside",
    ]
    rows = [
        _row_beside(REAL, first["real_against_real"]),
        *(_row_beside(label, each) for label, each in scores.items()),
    ]
    named = "" if second is None else f"Second extractor: {second['extractor']}. "
    notes = (
        f"{named}N = {first['large']['n']}. Grey values: Wasserstein-1 distance of the histograms, in grey levels of "
        "255. Spectrum: root mean square relative difference of the radial power spectra. Lineal path: root mean "
        "square difference of the probabilities. Ratios: mean over that of held-out rock, 1 is as it should be. "
        "Inside: part of the lags or frequencies at which the mean curve lies in the simultaneous 95 % band of a "
        "generator that has learnt its training rock exactly, by a bootstrap over blocks of rock "
        f"({first['n_blocks']['training']} of training, {first['n_blocks']['test']} of test)."
    )
    return [_line(head), _line(["---"] + ["---:"] * (len(head) - 1)), *map(_line, rows), "", notes]


def _row_beside(label: str, scores: Mapping[str, Any]) -> list[str]:
    second, free = scores["second_extractor"], scores["network_free"]
    return [
        label,
        *(() if second is None else (f"{second['fid']:.2f}", _kid(second))),
        *(ABSENT if (value := free[key]) is None else f"{value * scale:.4g}" for _, (key, scale) in NETWORK_FREE),
        *(f"{100 * free['inside_band'][key]:.0f} %" for key in ("s2", "lineal_path", "spectrum")),
    ]


def _check_alike(scores: Mapping[str, Mapping[str, Any]]) -> None:
    how = {
        label: (
            each["extractor"],
            (each["second_extractor"] or {}).get("extractor"),
            each["paper"]["n"],
            each["large"]["n"],
        )
        for label, each in scores.items()
    }
    if len(set(how.values())) > 1:
        raise InputError(f"scores of different extractors or sample counts are not compared: {how}; score them again")


def _row(label: str, scores: Mapping[str, Any]) -> list[str]:
    paper = next((values for name, values in PAPER.items() if name.lower() in label.lower()), (ABSENT, ABSENT))
    return [
        label,
        f"{scores['paper']['fid']:.2f}",
        _kid(scores["paper"]),
        f"{scores['large']['fid']:.2f}",
        _kid(scores["large"]),
        f"{scores['fid_infinity']:.2f}",
        f"{scores['s2_distance']:.4f}",
        *paper,
    ]


def _kid(protocol: Mapping[str, Any]) -> str:
    return f"{1000 * protocol['kid']:.2f} ± {1000 * protocol['kid_std']:.2f}"


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"
