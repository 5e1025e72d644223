"""How many tables a deck has of each kind: TABDIMS, EQLDIMS, ROCKOPTS."""

from __future__ import annotations

from rockbank.flow.eclipse.keywords import FLUID_TABLES, SATURATION_TABLES
from rockbank.flow.eclipse.record import Record
from rockbank.flow.eclipse.text import Keyword

_MOST_REGIONS = 10_000
# Names of tables by the item that counts them, from 1.
_COUNTED = {"TABDIMS": (SATURATION_TABLES, FLUID_TABLES), "EQLDIMS": (("EQUIL",),)}
# By what the regions of ROCK are numbered, and which item of TABDIMS counts them.
_OF_ROCK = {"PVTNUM": 2, "SATNUM": 1, "ROCKNUM": 13}


class Dimensions:
    """Records of these keywords as they come."""

    def __init__(self) -> None:
        self.rock_regions = "PVTNUM"
        self._tables: Record | None = None

    def take(self, keyword: Keyword, rock: Record | None) -> dict[str, int]:
        """How many records tables have by what the keyword says, 0 being its default.

        Args:
            keyword: one of the three.
            rock: the first record of ROCK, where it is read already.

        Raises:
            DeckError: there are too many, or ROCKOPTS asks for what is not computed, or comes too late.
        """
        record, found = keyword.record, dict[str, int]()
        for i, names in enumerate(_COUNTED.get(keyword.name, ()), start=1):
            found |= dict.fromkeys(names, _count(record, i, 1))
        if keyword.name == "TABDIMS":
            self._tables = record
        elif keyword.name == "ROCKOPTS":
            self.rock_regions = _rock_regions(record)
            if rock is not None and self.rock_regions != "PVTNUM":
                raise record.error(f"item 3: comes after ROCK in {rock.place}, which it concerns; give it before")
        if self._tables is not None:
            of_liquids = _count(self._tables, _OF_ROCK["PVTNUM"], 1)
            found["ROCK"] = _count(self._tables, _OF_ROCK[self.rock_regions], of_liquids)
        return found


def _count(record: Record, i: int, default: int) -> int:
    n = record.whole(i, default) or default
    if n > _MOST_REGIONS:
        raise record.error(f"item {i}: got {n}; give {_MOST_REGIONS} regions at most")
    return max(n, 1)


def _rock_regions(options: Record) -> str:
    """The array by which ROCK goes."""
    if options.choice(1, ("PRESSURE", "PRES", "STRESS"), "PRESSURE") == "STRESS":
        raise options.error(f"item 1: got '{options.text(1)}'; rock gives way to pressure, say PRESSURE")
    if options.choice(2, ("NOSTORE", "STORE"), "NOSTORE") == "STORE":
        raise options.error(f"item 2: got '{options.text(2)}'; reference pressures are those of ROCK, say NOSTORE")
    return options.choice(3, tuple(_OF_ROCK), "PVTNUM")
