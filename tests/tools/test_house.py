"""The house has every room on the floor that its imports give it."""

from __future__ import annotations

import pytest

from tools import house


def test_a_room_stands_one_floor_above_the_highest_that_it_imports() -> None:
    below = {"roof": {"wall", "ground"}, "wall": {"ground"}, "porch": {"ground"}, "ground": set[str]()}
    assert house.floors(below) == [["ground"], ["porch", "wall"], ["roof"]]


def test_rooms_that_import_each_other_have_no_floor() -> None:
    with pytest.raises(ValueError, match=r"\['a', 'b'\]"):
        house.floors({"a": {"b"}, "b": {"a"}, "c": set()})


def test_the_code_stands() -> None:
    rows = house.floors(house.imports())
    assert {"rockbank.core"} <= set(rows[0])
    assert {"rockbank.flow", "rockbank.cli", "serving", "pipelines"} <= {room for row in rows for room in row}
    assert house.room("rockbank.core").about
    assert "files" in house.room("rockbank.core").inside
    assert len(house.draw(rows).axes) == 1
