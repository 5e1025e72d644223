"""Tables of named columns, one measurement a row, whose errors name file, line and column."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rockbank.core.errors import InputError

if TYPE_CHECKING:
    from _csv import Reader as CSVReader

# A million rows by mistake should not take an hour to refuse.
_N_MAX = 100_000


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The line number and the cells of each row of a CSV file; its columns may come in any order.

    Raises:
        InputError: naming the file that is absent or no such table, and its line.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; the path is relative to the case file")
    try:
        # Spreadsheets put a byte-order mark before the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _rows(path, csv.reader(file, strict=True), columns)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: no CSV: {error}; save it as comma-separated UTF-8") from error


def head(path: Path) -> list[str]:
    """The names of the columns of a CSV file; none of one that is absent or no such table, as `read_rows` tells."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [name.strip() for name in next(csv.reader(file, strict=True), [])]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _rows(path: Path, lines: CSVReader, columns: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    head = [name.strip() for name in next(lines, [])]
    if sorted(head) != sorted(columns):
        missing = [name for name in columns if name not in head]
        unknown = [name for name in head if name not in columns]
        what = (
            f"no column '{missing[0]}'"
            if missing
            else f"unknown column '{unknown[0]}'"
            if unknown
            else "twice a column"
        )
        raise InputError(f"{path}, line 1: {what}; the columns are {','.join(columns)}")
    n = 0
    for cells in lines:
        if not cells:
            continue
        n += 1
        if n > _N_MAX:
            raise InputError(f"{path}: more than {_N_MAX} rows; keep fewer")
        if len(cells) != len(head):
            raise InputError(f"{path}, line {lines.line_num}: {len(cells)} cells; there are {len(head)} columns")
        yield lines.line_num, dict(zip(head, (cell.strip() for cell in cells), strict=True))


@contextmanager
def at(path: Path, line: int, column: str) -> Iterator[None]:
    """Makes an InputError name file, line and column."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}, line {line}, {column}: {error}") from error


def number(cell: str, *, is_finite: bool = True) -> float:
    """The number in a cell, a finite one unless it need not be."""
    try:
        value = float(cell)
    except ValueError:
        raise InputError(f"got '{cell}'; give a number such as 1.5e7") from None
    if is_finite and not math.isfinite(value):
        raise InputError(f"got '{cell}'; leave out the row of what was not measured")
    return value


def one_of(cell: str, known: Sequence[str]) -> str:
    """The cell, if it is one of those known."""
    if cell not in known:
        raise InputError(f"got '{cell}'; known are {list(known)}")
    return cell
