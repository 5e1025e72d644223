"""Reads Eclipse's unified summary (SMSPEC and UNSMRY): the wells' curves, ours and other simulators'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

import numpy as np
import resfo
from jaxtyping import Float

from rockbank.core.errors import InputError
from rockbank.flow.units import ATMOSPHERE, BAR, BARREL, DAY, HOUR, PSI

# Units by the names that summaries give them, in SI; surface volumes of liquids.
_UNITS: Mapping[str, float] = {
    "DAYS": DAY,
    "HOURS": HOUR,
    "BARSA": BAR,
    "PSIA": PSI,
    "SM3/DAY": 1 / DAY,
    "STB/DAY": BARREL / DAY,
    "ATM": ATMOSPHERE,
    "ATMA": ATMOSPHERE,
    "HR": HOUR,
    "SCC/HR": 1e-6 / HOUR,
    "SCC/HOUR": 1e-6 / HOUR,
}


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """A unified summary of any simulator, vector by vector.

    Attributes:
        path: of its specification.
        start: date of time 0; None is not in the file.
        time: seconds from the start.
    """

    path: Path
    start: datetime | None
    time: Float[np.ndarray, " t"]
    _rows: Float[np.ndarray, "t v"]
    _units: Sequence[str]
    _columns: Mapping[tuple[str, str], int]

    @classmethod
    def read(cls, path: Path, *, every_step: bool = False) -> Self:
        """The summary of an SMSPEC, of the UNSMRY beside it, or of the deck of the same name.

        Args:
            path: of one of them; suffixes may be of capitals or not.
            every_step: at each step that the simulator took, rather than at the report steps.

        Raises:
            InputError: naming the file that is absent or no summary, or the vector that is there twice.
        """
        head_path, data_path = (_beside(path, suffix) for suffix in (".SMSPEC", ".UNSMRY"))
        head = dict(_read(head_path))
        # Longer names than of 8 characters stand in NAMES.
        wanted = ("KEYWORDS", "NAMES" if "NAMES" in head else "WGNAMES", "UNITS")
        for need in wanted:
            if need not in head:
                raise InputError(f"{head_path}: has no {need}; is it a summary's specification?")
        keywords, names, units = ([str(_plain(each)) for each in head[need]] for need in wanted)
        rows = np.array(list(_rows(data_path, every_step=every_step)), dtype=float)
        if not len(rows):
            raise InputError(f"{data_path}: holds no step; has the run ended?")
        if rows.shape[1] != len(keywords):
            raise InputError(f"{data_path}: holds {rows.shape[1]} vectors, {head_path} tells of {len(keywords)}; they "
                             "belong to two runs")  # fmt: skip
        columns: dict[tuple[str, str], int] = {}
        for i, (keyword, name) in enumerate(zip(keywords, names, strict=True)):
            key = (keyword.upper(), name if keyword[:1].upper() == "W" else "")
            if not np.array_equal(rows[:, columns.setdefault(key, i)], rows[:, i], equal_nan=True) and key[1]:
                raise InputError(f"{head_path}: holds {keyword} of '{name}' twice, with other values; keep one")
        if ("TIME", "") not in columns:
            raise InputError(f"{head_path}: has no TIME; ask for it in the deck's SUMMARY")
        made = cls(path=head_path, start=_start(head), time=rows[:, 0], _rows=rows, _units=units, _columns=columns)
        values, scale = made.vector("TIME")
        return replace(made, time=values * scale)

    def has(self, keyword: str, well: str) -> bool:
        """Whether there is such a vector of that well."""
        return (keyword, well) in self._columns

    def wells(self, *keywords: str) -> tuple[str, ...]:
        """The wells that have such vectors; those of any without keywords."""
        found = (well for keyword, well in self._columns if well and (not keywords or keyword in keywords))
        return tuple(dict.fromkeys(found))

    def unit(self, keyword: str, well: str) -> str:
        """The unit of a vector that is there, as the file calls it."""
        return self._units[self._columns[keyword, well]]

    def vector(self, keyword: str, well: str = "") -> tuple[Float[np.ndarray, " t"], float]:
        """The values of a vector that is there, and one of its unit in SI."""
        i = self._columns[keyword, well]
        if self._units[i] not in _UNITS:
            raise InputError(f"{self.path}: {keyword} is in '{self._units[i]}'; known are {list(_UNITS)}")
        return self._rows[:, i], _UNITS[self._units[i]]


def read_summary(path: Path, *, every_step: bool = False) -> WellCurves:
    """The curves of the wells with a bottom-hole pressure; a rate of which there is no vector is NaN.

    Args:
        path: see Summary.read.
        every_step: likewise.

    Raises:
        InputError: naming the file that is absent or no summary, or the unit that is not known.
    """
    summary = Summary.read(path, every_step=every_step)
    wells = summary.wells("WBHP")
    if not wells:
        raise InputError(f"{summary.path}: has no WBHP; ask for it in the deck's SUMMARY")

    def curve(keyword: str, well: str) -> Float[np.ndarray, " t"]:
        if not summary.has(keyword, well):
            return np.zeros(len(summary.time))
        values, scale = summary.vector(keyword, well)
        return np.asarray(values * scale)

    def of_wells(into: str, out: str) -> Float[np.ndarray, "t w"]:
        # Adding 0 makes nothing of a negative zero.
        curves = [curve(into, well) - curve(out, well) + 0.0 for well in wells]
        has_curve = [summary.has(into, well) or summary.has(out, well) for well in wells]
        return np.where(has_curve, np.stack(curves, axis=1), np.nan)

    return WellCurves(
        time=summary.time,
        wells=wells,
        bhp=np.stack([curve("WBHP", well) for well in wells], axis=1),
        water_rate=of_wells("WWIR", "WWPR"),
        oil_rate=of_wells("WOIR", "WOPR"),
    )


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


def _beside(path: Path, suffix: str) -> Path:
    """The file of that suffix, in capitals or not."""
    names = (path.with_suffix(suffix), path.with_suffix(suffix.lower()))
    return next((name for name in names if name.is_file()), names[0])


def _start(head: Mapping[str, Sequence[float]]) -> datetime | None:
    """STARTDAT: day, month and year; newer files have hour, minute and microseconds too."""
    if "STARTDAT" not in head:
        return None
    day, month, year, hour, minute, microseconds = (*(int(each) for each in head["STARTDAT"]), 0, 0, 0)[:6]
    try:
        return datetime(year, month, day, hour, minute) + timedelta(microseconds=microseconds)
    except ValueError as error:
        raise InputError(
            f"STARTDAT: got {day}, {month}, {year}, {hour}, {minute}: {error}; is the file whole?"
        ) from error


def _plain(text: object) -> str:
    """Text of an array, whose bytes may be such or a str."""
    return (text.decode() if isinstance(text, bytes) else str(text)).strip()
