"""Writes the wells' curves as Eclipse's unified summary, which other programs read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import resfo
from jaxtyping import Float

from rockbank.core.files import replacing
from rockbank.flow.eclipse.summary import WellCurves
from rockbank.flow.eclipse.text import require_deck_names
from rockbank.flow.units import BAR, DAY

History = Mapping[tuple[str, str], Float[np.ndarray, " t"]]
# Of each quantity: keyword, unit, and what the number in SI is times to be in it.
_HISTORY = {
    "bhp": (("WBHPH", "BARSA", 1 / BAR),),
    "water_rate": (("WWIRH", "SM3/DAY", DAY), ("WWPRH", "SM3/DAY", -DAY)),
    "oil_rate": (("WOPRH", "SM3/DAY", -DAY),),
}
_NO_WELL = ":+:+:+:+"
_METRIC_SYSTEM, _ECLIPSE_100 = 1, 100


def summary_path(results: Path) -> Path:
    """Where the summary of a run lies: name and suffix in capitals, or readers of a name without any find none."""
    name = results.stem.upper()
    return results.with_name(f"{name}{'.SMSPEC' if name.lower() != name else '.smspec'}")


def unsmry_path(path: Path) -> Path:
    """Of the values, beside the specification."""
    return path.with_suffix(".unsmry" if path.suffix.islower() else ".UNSMRY")


def write_summary(
    path: Path,
    curves: WellCurves,
    *,
    volumes: Float[np.ndarray, "t w 2"] | None = None,
    history: History | None = None,
    box: tuple[int, int, int],
    start: datetime,
) -> None:
    """Write the curves as SMSPEC and UNSMRY, METRIC, in single precision as the format has it.

    Args:
        path: of the SMSPEC; the UNSMRY lies beside it, its suffix in capitals or not as this one's.
        curves: at report steps.
        volumes: of water and oil into the reservoir since the start, m^3; None is rates times report steps, which
            is the same where no report step was cut.
        history: what was measured, by well and quantity (see Case.history), written as WOPRH and its kin; where nothing
            was measured they are 0, as Eclipse has them.
        box: cells along x, y, z.
        start: date of time 0.
    """
    if volumes is None:
        steps = np.diff(curves.time, prepend=0.0)[:, None, None]
        volumes = np.cumsum(np.stack([curves.water_rate, curves.oil_rate], axis=2) * steps, axis=0)
    vectors = [*_vectors(curves, volumes), *_measured(curves, history or {})]
    keywords, names, units, columns = (list(part) for part in zip(*vectors, strict=True))
    require_deck_names(curves.wells)
    numbers = {name: i for i, name in enumerate(curves.wells, start=1)}
    date = [start.day, start.month, start.year, start.hour, start.minute, start.second * 1_000_000]
    head = [
        ("INTEHEAD", np.array([_METRIC_SYSTEM, _ECLIPSE_100], dtype=np.int32)),
        ("RESTART ", np.array([" " * 8] * 9)),
        ("DIMENS  ", np.array([len(vectors), *box, 0, -1], dtype=np.int32)),
        ("KEYWORDS", np.array([keyword.ljust(8) for keyword in keywords])),
        ("WGNAMES ", np.array([name.ljust(8) for name in names])),
        ("NUMS    ", np.array([numbers.get(name, 0) for name in names], dtype=np.int32)),
        ("UNITS   ", np.array([unit.ljust(8) for unit in units])),
        ("STARTDAT", np.array(date, dtype=np.int32)),
    ]
    data: list[tuple[str, np.ndarray]] = []
    for i, row in enumerate(np.stack(columns, axis=1).astype(np.float32)):
        data.append(("SEQHDR  ", np.array([i + 1], dtype=np.int32)))
        data.append(("MINISTEP", np.array([i], dtype=np.int32)))
        data.append(("PARAMS  ", row))
    for of, contents in ((unsmry_path(path), data), (path, head)):
        with replacing(of) as beside:
            resfo.write(beside, contents)


def _vectors(
    curves: WellCurves, volumes: Float[np.ndarray, "t w 2"]
) -> Iterator[tuple[str, str, str, Float[np.ndarray, " t"]]]:
    """Keyword, well, unit and values of each vector."""
    yield "TIME", _NO_WELL, "DAYS", curves.time / DAY
    # Of a phase, what goes in or what comes out.
    kinds = (("WI", curves.water_rate, 0, 1.0), ("WP", curves.water_rate, 0, -1.0), ("OP", curves.oil_rate, 1, -1.0))
    shown = [
        (name, np.maximum(sign * rate, 0.0) * DAY, np.maximum(sign * volumes[:, :, i], 0.0))
        for name, rate, i, sign in kinds
    ]
    for name, rate, volume in shown:
        yield f"F{name}R", _NO_WELL, "SM3/DAY", rate.sum(axis=1)
        yield f"F{name}T", _NO_WELL, "SM3", volume.sum(axis=1)
    for i, well in enumerate(curves.wells):
        yield "WBHP", well, "BARSA", curves.bhp[:, i] / BAR
        for name, rate, volume in shown:
            yield f"W{name}R", well, "SM3/DAY", rate[:, i]
            yield f"W{name}T", well, "SM3", volume[:, i]


def _measured(curves: WellCurves, history: History) -> Iterator[tuple[str, str, str, Float[np.ndarray, " t"]]]:
    """Those of what was measured."""
    for well in curves.wells:
        for quantity, vectors in _HISTORY.items():
            if (well, quantity) in history:
                values = np.nan_to_num(history[well, quantity][: len(curves.time)])
                for keyword, unit, scale in vectors:
                    yield keyword, well, unit, np.maximum(scale * values, 0.0)
