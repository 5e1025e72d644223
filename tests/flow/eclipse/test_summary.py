"""Summaries: ours are read by resdata, and come back."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import resfo
from resdata.summary import Summary

from rockbank.flow.eclipse.summary import Summary as OurSummary
from rockbank.flow.eclipse.summary import WellCurves, read_summary
from rockbank.flow.eclipse.summary_writer import summary_path, write_summary

DAY = 86400.0
# The format holds single precision.
SINGLE = 1e-6
START = datetime(2019, 1, 31)


@pytest.fixture
def curves() -> WellCurves:
    n = 5
    rng = np.random.default_rng(3)
    water, oil = rng.uniform(1e-4, 1e-3, (n, 2)), rng.uniform(1e-4, 1e-3, (n, 2))
    return WellCurves(
        time=np.cumsum([1.0, 1.0, 3.0, 5.0, 10.0]) * DAY,
        wells=("INJ", "PROD-1"),
        bhp=rng.uniform(1e7, 3e7, (n, 2)),
        water_rate=water * [1, -1],
        oil_rate=oil * [0, -1],
    )


@pytest.fixture
def written(curves: WellCurves, tmp_path: Path) -> Path:
    path = tmp_path / "CASE.SMSPEC"
    write_summary(path, curves, box=(8, 4, 1), start=START)
    return path


def test_a_summary_comes_back(curves: WellCurves, written: Path) -> None:
    for read in (read_summary(written), read_summary(written, every_step=True)):
        assert read.wells == curves.wells
        for name in ("time", "bhp", "water_rate", "oil_rate"):
            np.testing.assert_allclose(getattr(read, name), getattr(curves, name), rtol=SINGLE, atol=0)


def test_what_was_measured_is_written_beside(curves: WellCurves, tmp_path: Path) -> None:
    path, nothing = tmp_path / "CASE.SMSPEC", np.nan
    measured = {("PROD-1", "oil_rate"): -np.array([1.0, 2.0, nothing, 4.0, 5.0]) / DAY,
                ("INJ", "water_rate"): np.full(5, 3.0) / DAY, ("INJ", "bhp"): np.full(5, 2e7)}  # fmt: skip
    write_summary(path, curves, history=measured, box=(8, 4, 1), start=START)
    summary = Summary(str(path.with_suffix("")))
    np.testing.assert_allclose(summary.numpy_vector("WOPRH:PROD-1"), [1, 2, 0, 4, 5], rtol=SINGLE)
    np.testing.assert_allclose(summary.numpy_vector("WWIRH:INJ"), [3] * 5, rtol=SINGLE)
    np.testing.assert_allclose(summary.numpy_vector("WBHPH:INJ"), [200] * 5, rtol=SINGLE)
    assert "WOPRH:INJ" not in summary


def test_resdata_reads_it(curves: WellCurves, written: Path) -> None:
    summary = Summary(str(written.with_suffix("")))
    assert summary.get_start_time() == START
    assert "WBHP:INJ" in summary
    np.testing.assert_allclose(summary.numpy_vector("TIME"), curves.time / DAY, rtol=SINGLE)
    np.testing.assert_allclose(summary.numpy_vector("WBHP:PROD-1"), curves.bhp[:, 1] / 1e5, rtol=SINGLE)
    np.testing.assert_allclose(summary.numpy_vector("WWIR:INJ"), curves.water_rate[:, 0] * DAY, rtol=SINGLE)
    np.testing.assert_allclose(summary.numpy_vector("WWPR:PROD-1"), -curves.water_rate[:, 1] * DAY, rtol=SINGLE)
    np.testing.assert_allclose(summary.numpy_vector("WOPR:PROD-1"), -curves.oil_rate[:, 1] * DAY, rtol=SINGLE)
    produced = np.cumsum(-curves.oil_rate[:, 1] * np.diff(curves.time, prepend=0))
    np.testing.assert_allclose(summary.numpy_vector("FOPT"), produced, rtol=SINGLE)
    assert summary.unit("WBHP:INJ") == "BARSA"


@pytest.mark.parametrize("stem", ["small_case", "Small", "SMALL", "5-spot", "a.b", "5"])
def test_resdata_reads_the_summary_of_any_name(curves: WellCurves, tmp_path: Path, stem: str) -> None:
    path = summary_path(tmp_path / f"{stem}.nc")
    write_summary(path, curves, box=(8, 4, 1), start=START)
    assert Summary(str(path)).get_start_time() == START
    assert OurSummary.read(tmp_path / path.name).start == START


def test_a_rate_of_which_there_is_no_vector_is_no_number(curves: WellCurves, written: Path) -> None:
    head = [(name, np.where(array == b"WOPR    ", b"WGPR    ", array) if name == "KEYWORDS" else array)
            for name, array in resfo.read(written)]  # fmt: skip
    resfo.write(written, head)
    read = read_summary(written)
    assert np.isnan(read.oil_rate).all()
    np.testing.assert_allclose(read.water_rate, curves.water_rate, rtol=SINGLE)


def test_names_longer_than_of_8_characters_are_read(curves: WellCurves, written: Path) -> None:
    head = [(name, array) for name, array in resfo.read(written)]
    names = [name.decode().strip() for name in dict(head)["WGNAMES "]]
    longer = np.array([(name if name.startswith(":") else f"{name}-OF-THE-EAST").ljust(24) for name in names])
    resfo.write(written, [("NAMES   ", longer) if name.strip() == "WGNAMES" else (name, array) for name, array in head])
    assert read_summary(written).wells == tuple(f"{name}-OF-THE-EAST" for name in curves.wells)


def test_report_steps_are_the_last_of_the_steps_taken_in_them(tmp_path: Path) -> None:
    path = tmp_path / "CUT.SMSPEC"
    resfo.write(
        path,
        [
            ("KEYWORDS", np.array(["TIME    ", "WBHP    "])),
            ("WGNAMES ", np.array([":+:+:+:+", "P       "])),
            ("UNITS   ", np.array(["DAYS    ", "PSIA    "])),
        ],
    )
    rows = [("SEQHDR  ", 0), ("PARAMS  ", 1), ("PARAMS  ", 2), ("SEQHDR  ", 0), ("PARAMS  ", 4)]
    resfo.write(
        path.with_suffix(".UNSMRY"),
        [(name, np.array([t, 100 * t] if t else [1], dtype=np.float32)) for name, t in rows],
    )
    np.testing.assert_array_equal(read_summary(path).time, np.array([2.0, 4.0]) * DAY)
    np.testing.assert_array_equal(read_summary(path, every_step=True).time, np.array([1.0, 2.0, 4.0]) * DAY)
    np.testing.assert_allclose(read_summary(path).bhp[:, 0], np.array([200.0, 400.0]) * 6894.757293168361)


def test_what_is_no_summary_is_refused(tmp_path: Path, written: Path) -> None:
    with pytest.raises(ValueError, match=r"NONE\.SMSPEC: no such file"):
        read_summary(tmp_path / "NONE.DATA")
    written.with_suffix(".UNSMRY").unlink()
    with pytest.raises(ValueError, match=r"CASE\.UNSMRY: no such file"):
        read_summary(written)
    written.write_text("a deck, not a summary\n" * 9)
    with pytest.raises(ValueError, match=r"CASE\.SMSPEC: no summary"):
        read_summary(written)
