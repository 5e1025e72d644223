"""The shale paper's Table 2 with our rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# FID, and KID with its deviation, of 100 images against 100 by InceptionV3; the KID's scale is not stated there.
PAPER = {"real": ("16.63", "5.11 ± 0.19"), "WGAN-GP": ("91.12", "6.38 ± 0.57"), "DCGAN": ("136.51", "11.73 ± 0.84")}
REAL = "real"
ABSENT = "-"


def table2(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Table 2 as markdown: real against real, then each generator, beside the paper's own numbers.

    Args:
        scores: from a row's label to what `score` returned. A label that contains "WGAN-GP" or "DCGAN",
            in any case, stands beside the paper's row of that name. The row of real against real is
            that of the first.

    Raises:
        ValueError: where the rows were measured with different extractors or sample counts.
    """
    if not scores:
        raise ValueError("table 2 has no rows; score a generator first")
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
    return "\n".join([*lines, "", notes, ""])


def _check_alike(scores: Mapping[str, Mapping[str, Any]]) -> None:
    how = {label: (each["extractor"], each["paper"]["n"], each["large"]["n"]) for label, each in scores.items()}
    if len(set(how.values())) > 1:
        raise ValueError(f"scores of different extractors or sample counts are not compared: {how}; score them again")


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
