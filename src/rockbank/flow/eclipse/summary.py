"""Eclipse's unified summary (SMSPEC and UNSMRY): the wells' curves, ours and other simulators'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import resfo
from jaxtyping import Float

from rockbank.core.errors import InputError
from rockbank.core.files import replacing
from rockbank.flow.eclipse.text import deck_name
from rockbank.flow.units import BAR, BARREL, DAY, HOUR, PSI

# Units by the names that summaries give them, in SI; surface volumes of liquids.
_UNITS: Mapping[str, float] = {
    "DAYS": DAY,
    "HOURS": HOUR,
    "BARSA": BAR,
    "PSIA": PSI,
    "SM3/DAY": 1 / DAY,
    "STB/DAY": BARREL / DAY,
}
_NO_WELL = ":+:+:+:+"
_METRIC_SYSTEM, _ECLIPSE_100 = 1, 100


@dataclass(frozen=True, kw_only=True, eq=False)
class WellCurves:
    """What the wells did, at some times.

    Attributes:
        time: seconds from the start.
        wells: their names.
        bhp: bottom-hole pressures, Pa.
        water_rate: at the surface, m^3/s, positive into the reservoir.
        oil_rate: likewise.
    """

    time: Float[np.ndarray, " t"]
    wells: tuple[str, ...]
    bhp: Float[np.ndarray, "t w"]
    water_rate: Float[np.ndarray, "t w"]
    oil_rate: Float[np.ndarray, "t w"]


def read_summary(path: Path, *, every_step: bool = False) -> WellCurves:
    """The wells' curves of a unified summary, from any simulator that writes one.

    Args:
        path: of the SMSPEC, the UNSMRY beside it, or the deck of the same name.
        every_step: at each step that the simulator took, rather than at the report steps.

    Raises:
        InputError: naming the file that is absent or no summary, or the unit that is not known.
    """
    head_path, data_path = path.with_suffix(".SMSPEC"), path.with_suffix(".UNSMRY")
    head = dict(_read(head_path))
    for need in ("KEYWORDS", "WGNAMES", "UNITS"):
        if need not in head:
            raise InputError(f"{head_path}: has no {need}; is it a summary's specification?")
    keywords, names, units = ([str(_plain(each)) for each in head[need]] for need in ("KEYWORDS", "WGNAMES", "UNITS"))
    rows = np.array(list(_rows(data_path, every_step=every_step)), dtype=float)
    if not len(rows):
        raise InputError(f"{data_path}: holds no step; has the run ended?")
    column = {(keyword, name if keyword[0] == "W" else ""): i
              for i, (keyword, name) in enumerate(zip(keywords, names, strict=True))}  # fmt: skip

    def curve(keyword: str, name: str = "") -> Float[np.ndarray, " t"]:
        if (keyword, name) not in column:
            return np.zeros(len(rows))
        i = column[keyword, name]
        if units[i] not in _UNITS:
            raise InputError(f"{head_path}: {keyword} is in '{units[i]}'; known are {list(_UNITS)}")
        return np.asarray(rows[:, i] * _UNITS[units[i]])

    wells = tuple(dict.fromkeys(name for keyword, name in column if keyword == "WBHP"))
    if not wells:
        raise InputError(f"{head_path}: has no WBHP; ask for it in the deck's SUMMARY")

    def of_wells(into: str, out: str) -> Float[np.ndarray, "t w"]:
        # Adding 0 makes nothing of a negative zero.
        return np.stack([curve(into, well) - curve(out, well) + 0.0 for well in wells], axis=1)

    return WellCurves(
        time=curve("TIME"),
        wells=wells,
        bhp=np.stack([curve("WBHP", well) for well in wells], axis=1),
        water_rate=of_wells("WWIR", "WWPR"),
        oil_rate=of_wells("WOIR", "WOPR"),
    )


def write_summary(
    path: Path,
    curves: WellCurves,
    *,
    volumes: Float[np.ndarray, "t w 2"] | None = None,
    box: tuple[int, int, int],
    start: datetime,
) -> None:
    """Write the curves as SMSPEC and UNSMRY, METRIC, in single precision as the format has it.

    Args:
        path: of the SMSPEC; the UNSMRY lies beside it.
        curves: at report steps.
        volumes: of water and oil into the reservoir since the start, m^3; None is rates times report steps, which
            is the same where no report step was cut.
        box: cells along x, y, z.
        start: date of time 0.
    """
    if volumes is None:
        steps = np.diff(curves.time, prepend=0.0)[:, None, None]
        volumes = np.cumsum(np.stack([curves.water_rate, curves.oil_rate], axis=2) * steps, axis=0)
    vectors = list(_vectors(curves, volumes))
    keywords, names, units, columns = (list(part) for part in zip(*vectors, strict=True))
    numbers = {deck_name(name): i for i, name in enumerate(curves.wells, start=1)}
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
    for suffix, contents in ((".UNSMRY", data), (".SMSPEC", head)):
        with replacing(path.with_suffix(suffix)) as beside:
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


def _rows(path: Path, *, every_step: bool) -> Iterator[Sequence[float]]:
    """The PARAMS of each step, or of the last one before each report step's end."""
    last: Sequence[float] | None = None
    for name, values in _read(path):
        if name == "SEQHDR" and last is not None and not every_step:
            yield last
            last = None
        elif name == "PARAMS":
            if every_step:
                yield values
            last = values
    if last is not None and not every_step:
        yield last


def _read(path: Path) -> Iterator[tuple[str, Sequence[float]]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a summary's SMSPEC with its UNSMRY beside it")
    try:
        for name, values in resfo.read(path):
            yield name.strip(), values  # type: ignore[misc]
    except resfo.ResfoParsingError as error:
        raise InputError(f"{path}: no summary: {error}; make it again") from error


def _plain(text: object) -> str:
    """Text of an array, whose bytes may be such or a str."""
    return (text.decode() if isinstance(text, bytes) else str(text)).strip()
