"""A section of YAML is a dataclass: defaults fill in, everything else is reported."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from rockbank.core.config import Given, convert, load_sections
from rockbank.core.errors import InputError


def read_even(raw: Any) -> int:
    if not isinstance(raw, int) or raw % 2:
        raise ValueError(f"expected an even number, got {raw!r}")
    return raw


@dataclass(frozen=True, kw_only=True)
class Inner:
    even: Annotated[int, read_even] = 2
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    inner: Inner = Inner()
    many: tuple[Annotated[int, read_even], ...] = ()
    rest: Any = None


def load(tmp_path: Path, text: str) -> Outer:
    path = tmp_path / "some.yaml"
    path.write_text(text)
    return load_sections(path, Outer, "make one")


def test_keys_with_defaults_may_be_left_out(tmp_path: Path) -> None:
    assert load(tmp_path, "name: x") == Outer(name="x")
    given = load(tmp_path, "{name: x, inner: {even: 4, kind: b}, many: [2, 6], rest: [1, a]}")
    assert given == Outer(name="x", inner=Inner(even=4, kind="b"), many=(2, 6), rest=[1, "a"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("inner: {}", "some.yaml: missing key 'name'"),
        ("{name: x, nmae: y}", "some.yaml: unknown key 'nmae'; known are ['name', 'inner', 'many', 'rest']"),
        ("{name: x, inner: {odd: 3}}", "some.yaml: unknown key 'odd' in section 'inner'; known are ['even', 'kind']"),
        ("{name: x, inner: {even: 3}}", "some.yaml: inner.even: expected an even number, got 3"),
        ("{name: x, inner: {kind: c}}", "some.yaml: inner.kind: expected one of ['a', 'b'], got 'c'"),
        ("{name: x, many: [2, 3]}", "some.yaml: many: expected an even number, got 3"),
        ("[1, 2]", "some.yaml: the file: expected a mapping"),
        ("{name: x", "some.yaml: not YAML"),
    ],
)
def test_what_does_not_fit_names_file_section_and_key(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        load(tmp_path, text)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        load(tmp_path, "{nmae: x, inner: {even: 3, kind: c}, many: [2, 3, 5]}")
    told = [line.removeprefix(f"{tmp_path / 'some.yaml'}: ") for line in str(raised.value).splitlines()]
    assert told == [
        "unknown key 'nmae'; known are ['name', 'inner', 'many', 'rest']",
        "missing key 'name'",
        "inner.even: expected an even number, got 3",
        "inner.kind: expected one of ['a', 'b'], got 'c'",
        "many: expected an even number, got 3",
        "many: expected an even number, got 5",
    ]


def test_a_missing_file_comes_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml: no such file; make one"):
        load_sections(tmp_path / "none.yaml", Outer, "make one")


def test_a_section_may_say_which_of_its_keys_are_there() -> None:
    assert convert({"even": 2}, Given[Inner], "some") == Given(Inner(), frozenset({"even"}))
    assert convert(None, Given[Inner] | None, "some") is None
    with pytest.raises(InputError, match=r"unknown key 'odd' in section 'some'; known are \['even', 'kind'\]"):
        convert({"odd": 3}, Given[Inner], "some")
    with pytest.raises(InputError, match="some: expected a mapping, got 3"):
        convert(3, Given[Inner], "some")
