"""Observations of an Eclipse summary: vectors by name, names without regard to case, and its date of start."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import resfo

from rockbank.matching.problem.observations import Observations
from tests.matching.io.test_files import CASE, DAY, TIME, case, dataset, read

__all__ = ["case", "read"]
VECTORS = {("WOPR", "PROD"): 10.0, ("WOPRH", "PROD"): 20.0, ("WWIR", "INJ"): 5.0, ("WWIRH", "INJ"): 6.0,
           ("WWPRH", "PROD"): 7.0, ("WBHPH", "PROD"): 150.0}  # fmt: skip
SIGMA = {"bhp": "2 bar", "water_rate": "1 m3/day", "oil_rate": "1 m3/day"}


def write(
    path: Path, vectors: dict[tuple[str, str], float] = VECTORS, start: tuple[int, ...] | None = (1, 1, 2019, 0, 0, 0)
) -> str:
    """A summary of constant vectors at TIME, and its name."""
    names = [("TIME", ":+:+:+:+"), *vectors]
    units = ["DAYS", *("BARSA" if keyword.startswith("WBHP") else "SM3/DAY" for keyword, _ in vectors)]
    head = [
        ("KEYWORDS", np.array([keyword.ljust(8) for keyword, _ in names])),
        ("WGNAMES ", np.array([well.ljust(8) for _, well in names])),
        ("UNITS   ", np.array([unit.ljust(8) for unit in units])),
    ]
    if start is not None:
        head.append(("STARTDAT", np.array(start, dtype=np.int32)))
    resfo.write(path, head)
    data = [(name, array) for time in TIME for name, array in (
        ("SEQHDR  ", np.array([1], dtype=np.int32)),
        ("PARAMS  ", np.array([time / DAY, *vectors.values()], dtype=np.float32)))]  # fmt: skip
    suffix = ".unsmry" if path.suffix.islower() else ".UNSMRY"
    resfo.write(path.with_suffix(suffix), data)
    return path.name


def values(found: Observations, unit: float = DAY) -> list[float]:
    """Each well's value, which is the same at all times."""
    assert len(set(found.time)) == 3
    return [round(float(value) * unit, 6) for value in found.value[::3]]


def test_a_history_is_read_where_it_is_asked_for_by_name(read: Callable[..., Observations], tmp_path: Path) -> None:
    file = write(tmp_path / "S.SMSPEC")
    oil = {"observed": {"PROD": ["oil_rate"]}, "sigma": SIGMA}
    assert values(read(file, **oil)) == [-10]
    for name in ("WOPRH", "woprh", "WOPR H".replace(" ", "")):
        assert values(read(file, **oil, names={"oil_rate": name})) == [-20]
    both = {"observed": {"INJ": ["water_rate"], "PROD": ["water_rate"]}, "sigma": SIGMA}
    assert values(read(file, **both, names={"water_rate": "WWIRH WWPRH"})) == [6, -7]
    pressure = {"observed": {"PROD": ["bhp"]}, "sigma": SIGMA, "names": {"bhp": "wbhph"}}
    assert values(read(file, **pressure), 1e-5) == [150]


def test_a_summary_of_a_history_alone_is_read(read: Callable[..., Observations], tmp_path: Path) -> None:
    file = write(tmp_path / "S.SMSPEC", {("WOPRH", "PROD"): 20.0})
    oil = {"observed": {"PROD": ["oil_rate"]}, "sigma": SIGMA}
    assert values(read(file, **oil, names={"oil_rate": "WOPRH"})) == [-20]
    with pytest.raises(ValueError, match=r"has no WOIR or WOPR of 'PROD'; ask for it .* say in 'names' which vector"):
        read(file, **oil)


def test_all_of_a_history_is_observed_by_one_line(read: Callable[..., Observations], tmp_path: Path) -> None:
    found = read(write(tmp_path / "S.SMSPEC"), history=True, sigma=SIGMA)
    told = {(well, quantity): round(float(value), 12) for well, quantity, value in
            zip(found.well, found.quantity, found.value, strict=True)}  # fmt: skip
    assert told == {("INJ", "water_rate"): round(6 / DAY, 12), ("PROD", "water_rate"): round(-7 / DAY, 12),
                    ("PROD", "oil_rate"): round(-20 / DAY, 12), ("PROD", "bhp"): 150e5}  # fmt: skip
    oil = read(write(tmp_path / "S.SMSPEC"), history=True, observed={"PROD": ["oil_rate"]}, sigma=SIGMA)
    assert values(oil) == [-20]
    with pytest.raises(ValueError, match=r"has no history of \['INJ', 'PROD'\]; ask for vectors such as WOPRH"):
        read(write(tmp_path / "T.SMSPEC", {("WOPR", "PROD"): 10.0}), history=True, sigma=SIGMA)


DECK = """RUNSPEC
DIMENS
 4 3 1 /
OIL
WATER
METRIC
START
 1 JAN 2019 /
GRID
DX
 12*10 /
DY
 12*10 /
DZ
 12*10 /
TOPS
 12*0 /
PORO
 12*0.2 /
PERMX
 12*100 /
COPY
 PERMX PERMY /
 PERMX PERMZ /
/
PROPS
SWOF
 0.2 0 1 0
 0.8 1 0 0 /
PVTW
 200 1 4e-5 1 0 /
PVCDO
 200 1 1e-4 2 0 /
DENSITY
 800 1000 1 /
SOLUTION
PRESSURE
 12*200 /
SWAT
 12*0.2 /
SCHEDULE
WELSPECS
 INJ G 1 1 1* WATER /
 PROD G 4 3 1* OIL /
/
COMPDAT
 INJ 2* 1 1 OPEN 2* 0.2 /
 PROD 2* 1 1 OPEN 2* 0.2 /
/
WCONINJH
 INJ WATER OPEN 20 /
/
WCONHIST
 PROD OPEN ORAT 18 1 /
/
TSTEP
 1 4 /
WCONHIST
 PROD OPEN ORAT 15 4 4* 140 /
/
TSTEP
 5 /
"""


def test_what_a_deck_tells_of_its_history_is_observed(read: Callable[..., Observations], tmp_path: Path) -> None:
    (tmp_path / "HIST.DATA").write_text(DECK)
    found = read("HIST.DATA", sigma=SIGMA)
    told: dict[tuple[str, str], list[float]] = {}
    for i in range(len(found)):
        unit = 1e-5 if found.quantity[i] == "bhp" else DAY
        told.setdefault((found.well[i], found.quantity[i]), []).append(round(found.value[i] * unit, 9))
    assert told == {
        ("INJ", "water_rate"): [20, 20, 20],
        ("PROD", "bhp"): [140],
        ("PROD", "oil_rate"): [-18, -18, -15],
        ("PROD", "water_rate"): [-1, -1, -4],
    }
    assert sorted(set(found.time)) == pytest.approx(list(TIME))
    with pytest.raises(ValueError, match=r"HIST\.DATA: has no history of bhp of INJ; leave it out of 'observed'"):
        read("HIST.DATA", observed={"INJ": ["bhp"]}, sigma=SIGMA)
    (tmp_path / "LATER.DATA").write_text(DECK.replace("1 JAN 2019", "1 JAN 2020"))
    with pytest.raises(ValueError, match=r"LATER\.DATA: starts at 2020-01-01 00:00:00, the case at 2019-01-01"):
        read("LATER.DATA", sigma=SIGMA)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"oil_rate": "WGPRH"}, r"names\.oil_rate: got 'WGPRH'; known are \['WOIR', 'WOPR', 'WOIRH', 'WOPRH'\]"),
        ({"oil_rate": "WOPR WOPRH"}, "one of injection and one of production at most"),
        ({"oil_rate": ""}, r"names\.oil_rate: got ''"),
        ({"oil_rate": "WOIRH"}, "has no WOIRH of 'PROD'"),
        ({"water_rate": "WWPRH"}, r"names\.water_rate: is not observed; say it in 'observed', or leave it out"),
        ({"INJ": "I"}, r"names\.INJ: is not observed"),
        ({"time": "TIME"}, r"names\.time: a summary's time is its vector TIME"),
        ({"PROD": "P"}, r"has no well 'P'; it has \['PROD', 'INJ'\]"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(
    read: Callable[..., Observations], tmp_path: Path, names: dict[str, str], says: str
) -> None:
    file = write(tmp_path / "S.SMSPEC")
    with pytest.raises(ValueError, match=says):
        read(file, observed={"PROD": ["oil_rate"]}, sigma=SIGMA, names=names)


def test_capitals_make_no_difference_where_eclipse_has_none(read: Callable[..., Observations], tmp_path: Path) -> None:
    oil = {"observed": {"PROD": ["oil_rate"]}, "sigma": SIGMA}
    assert values(read(write(tmp_path / "s.smspec", {("wopr", "Prod"): 10.0}), **oil)) == [-10]
    # Where two wells are alike, one has to be named.
    file = write(tmp_path / "T.SMSPEC", {("WOPR", "Prod"): 10.0, ("WOPR", "prod"): 11.0})
    with pytest.raises(ValueError, match=r"has no well 'PROD'; it has \['Prod', 'prod'\]"):
        read(file, **oil)
    assert values(read(file, **oil, names={"PROD": "prod"})) == [-11]


def test_a_summary_that_starts_on_another_day_is_refused_with_both(
    read: Callable[..., Observations], tmp_path: Path
) -> None:
    oil = {"observed": {"PROD": ["oil_rate"]}, "sigma": SIGMA}
    file = write(tmp_path / "S.SMSPEC", start=(2, 1, 2019, 0, 0, 0))
    with pytest.raises(ValueError, match=r"S\.SMSPEC: starts at 2019-01-02 00:00:00, the case at 2019-01-01 00:00:00"):
        read(file, **oil)
    for start in ((1, 1, 2019), None):
        assert values(read(write(tmp_path / "S.SMSPEC", start=start), **oil)) == [-10]


def test_a_file_of_another_start_is_refused_as_netcdf_too(read: Callable[..., Observations], tmp_path: Path) -> None:
    dataset().assign_attrs(start="2019-01-02T00:00:00").to_netcdf(tmp_path / "run.nc")
    keys = {"observed": {"PROD": ["oil_rate"]}, "sigma": SIGMA}
    with pytest.raises(ValueError, match=r"run\.nc: starts at 2019-01-02 00:00:00, the case at 2019-01-01"):
        read("run.nc", **keys)
    dataset().assign_attrs(start=datetime(2019, 1, 1).isoformat()).to_netcdf(tmp_path / "run.nc")
    assert len(read("run.nc", **keys)) == 3


def test_a_vector_or_label_that_is_there_twice_is_refused_where_its_values_differ(
    read: Callable[..., Observations], tmp_path: Path
) -> None:
    keys = {"observed": {"PROD": ["oil_rate"]}, "sigma": SIGMA}
    file = write(tmp_path / "S.SMSPEC", {("WOPR", "PROD"): 10.0, ("wopr", "PROD"): 11.0})
    with pytest.raises(ValueError, match="holds wopr of 'PROD' twice, with other values"):
        read(file, **keys)
    assert values(read(write(tmp_path / "S.SMSPEC", {("WOPR", "PROD"): 10.0, ("wopr", "PROD"): 10.0}), **keys)) == [-10]
    dataset().assign_coords(well=["PROD", "PROD"]).to_netcdf(tmp_path / "run.nc")
    with pytest.raises(ValueError, match="dimension 'well' of 'oil_rate' has the label 'PROD' twice"):
        read("run.nc", **keys)


def test_a_case_without_a_start_takes_no_dates(tmp_path: Path) -> None:
    from rockbank.core.config import convert
    from rockbank.flow.casefile.file import load_case
    from rockbank.matching.io.files import ObservationsSection

    (tmp_path / "few.yaml").write_text(CASE.replace("start: 2019-01-01\n", ""))
    dates = np.datetime64("2019-01-01", "ns") + (TIME / DAY).astype("timedelta64[D]")
    dataset().assign_coords(time=dates).to_netcdf(tmp_path / "run.nc")
    raw = {"file": "run.nc", "observed": {"PROD": ["oil_rate"]}, "sigma": SIGMA}
    section: ObservationsSection = convert(raw, ObservationsSection, "observations")
    with pytest.raises(ValueError, match="its times are dates, and the case does not say when it starts"):
        section.read(load_case(tmp_path / "few.yaml"), tmp_path)
