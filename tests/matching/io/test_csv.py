"""Observations as CSV: read again to the last bit, and what is wrong is told by file, line and column."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rockbank.flow.case import Case
from rockbank.matching.io.csv import read_table, write_observations
from rockbank.matching.problem.observations import QUANTITIES, Observations
from tests.matching.io.test_files import HEAD, ROW, TIME, assert_same, case, read, wanted

__all__ = ["case", "read"]
WORDS = ("1", "day", "INJ", "bhp", "250", "2", "bar", "24", "hours", "nan", "", '"')


@pytest.fixture
def read_text(read: Callable[..., Observations], tmp_path: Path) -> Callable[[str], Observations]:
    """Reads a CSV of this text."""

    def of(text: str) -> Observations:
        (tmp_path / "obs.csv").write_text(text)
        return read("obs.csv")

    return of


def test_what_is_written_is_read_again_to_the_last_bit(case: Case, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        value = rng.standard_normal(9) * 10.0 ** rng.uniform(-12, 9, 9)
        value[::3] = abs(value[::3])  # a pressure is positive
        sigma = 10.0 ** rng.uniform(-12, 9, 9)
        # Ends of report steps as files may round them.
        time = np.repeat(TIME, 3) * (1 + 1e-8 * rng.standard_normal(9))
        written = Observations(time=time, well=("INJ",) * 9, quantity=QUANTITIES * 3, value=value, sigma=sigma)
        write_observations(tmp_path / "obs.csv", written)
        assert_same(read_table(tmp_path / "obs.csv", case), written)


def test_round_numbers_of_the_field_are_written_as_such(tmp_path: Path) -> None:
    write_observations(tmp_path / "obs.csv", wanted())
    lines = (tmp_path / "obs.csv").read_text().splitlines()
    assert lines[0] == HEAD.strip()
    assert lines[2] == "5,day,INJ,bhp,250,2,bar"
    assert "10,day,PROD,water_rate,-9,1,m3/day" in lines


def test_nothing_observed_comes_back_as_nothing(case: Case, tmp_path: Path) -> None:
    empty = Observations(time=np.zeros(0), well=(), quantity=(), value=np.zeros(0), sigma=np.zeros(0))
    write_observations(tmp_path / "obs.csv", empty)
    assert len(read_table(tmp_path / "obs.csv", case)) == 0


def test_units_columns_and_rows_may_come_in_any_order(read_text: Callable[[str], Observations]) -> None:
    plain = read_text(HEAD + ROW + "\n5,day,PROD,oil_rate,-17,1,m3/day\n")
    other = read_text(
        "\ufeffunit, well, time, time_unit, sigma, quantity, value\n\n"
        "m3/hour,PROD,120,hours,4.1666666666666664e-2,oil_rate,-0.70833333333333337\n"
        "Pa, INJ ,86400,s,2e5,bhp,25e6\n"
    )
    # Each number was rounded once in the file, and once when multiplied.
    assert_same(other, plain, rtol=4e-16)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (ROW.replace("INJ", "INJ2"), "obs.csv, line 3, well: got 'INJ2'; known are ['INJ', 'PROD']"),
        (ROW.replace("bhp", "gas_rate"), "obs.csv, line 3, quantity: got 'gas_rate'; known are ['bhp', 'water_rate',"),
        (ROW.replace("day", "month"), "obs.csv, line 3, time_unit: unknown unit 'month' of a time; known are ['s',"),
        (ROW.replace("day", ""), "obs.csv, line 3, time_unit: missing; give the unit of the time, one of ['s',"),
        (ROW.replace("bar", ""), "obs.csv, line 3, unit: missing; give the unit of the pressure, one of ['Pa',"),
        (ROW.replace("bar", "m3/day"), "obs.csv, line 3, unit: unknown unit 'm3/day' of a pressure"),
        (
            ROW.replace("250", "nan"),
            "obs.csv, line 3, value: bhp of INJ at 1 days: got .nan bar, which is no measurement",
        ),
        (ROW.replace("250", ""), "obs.csv, line 3, value: got ''; give a number such as 1.5e7"),
        (ROW.replace(",2,", ",0,"), "obs.csv, line 3, sigma: bhp of INJ at 1 days: got standard deviation 0; it must"),
        (ROW.replace(",2,", ",-2,"), "got standard deviation -200000; it must be positive"),
        (ROW.replace(",2,", ",inf,"), "obs.csv, line 3, sigma: got 'inf'"),
        (ROW.replace("1,day", "0,day"), "line 3, time: bhp of INJ at 0 days: lies outside the schedule of 10 days"),
        (ROW.replace("1,day", "11,day"), "line 3, time: bhp of INJ at 11 days: lies outside the schedule of 10 days"),
        (ROW.replace("1,day", "24,hour"), "line 3, time: bhp of INJ at 1 days is there twice"),
        (ROW + ",x", "obs.csv, line 3: 8 cells; there are 7 columns"),
        ('1,day,"INJ,bhp', "obs.csv: no CSV: unexpected end of data; save it as comma-separated UTF-8"),
        (
            "1,day,PROD,oil_rate,17,1,m3/day",
            "obs.csv: oil_rate of PROD at 1 days: got 0.000196759 m^3/s; rates are pos",
        ),
    ],
)
def test_a_wrong_row_is_told_by_file_line_and_column(
    read_text: Callable[[str], Observations], row: str, says: str
) -> None:
    before = ROW if "hour" in row else ROW.replace("1,day", "10,day")
    says = says.replace("is there twice", "is in line 2 too; keep one")
    with pytest.raises(ValueError, match=re.escape(says)):
        read_text(f"{HEAD}{before}\n{row}\n")


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (HEAD.replace(",unit", ""), "obs.csv, line 1: no column 'unit'; the columns are time,time_unit,well,quantity,"),
        (HEAD.replace("sigma", "error"), "obs.csv, line 1: no column 'sigma'"),
        (HEAD.replace("unit\n", "unit,note\n"), "obs.csv, line 1: unknown column 'note'"),
        (HEAD.replace("unit\n", "unit,well\n"), "obs.csv, line 1: twice a column"),
        ("", "obs.csv, line 1: no column 'time'"),
    ],
)
def test_wrong_columns_are_told(read_text: Callable[[str], Observations], head: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        read_text(head)


def test_a_file_that_is_no_text_or_too_long_is_told(
    read: Callable[..., Observations], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "obs.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"obs\.csv: no CSV: .*; save it as comma-separated UTF-8"):
        read("obs.csv")
    monkeypatch.setattr("rockbank.matching.io.table._N_MAX", 1)
    (tmp_path / "obs.csv").write_text(f"{HEAD}{ROW}\n{ROW.replace('1,day', '5,day')}\n")
    with pytest.raises(ValueError, match=r"obs\.csv: more than 1 rows; keep fewer"):
        read("obs.csv")


@given(st.lists(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=5)), min_size=6, max_size=8), max_size=4))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_text_is_read_as_something_else_or_fails_without_naming_the_file(
    read: Callable[..., Observations], tmp_path: Path, rows: list[list[str]]
) -> None:
    (tmp_path / "obs.csv").write_text(HEAD + "\n".join(",".join(row) for row in rows), encoding="utf-8")
    try:
        found = read("obs.csv")
    except ValueError as error:
        assert "obs.csv" in str(error)  # noqa: PT017 - that it is read is right too
    else:
        assert len(found) <= len(rows)
        assert np.isin(found.time, TIME).all()


def test_noise_may_turn_a_rate_that_is_almost_none(read_text: Callable[[str], Observations]) -> None:
    assert read_text(f"{HEAD}1,day,PROD,water_rate,3,1,m3/day\n").value[0] > 0
