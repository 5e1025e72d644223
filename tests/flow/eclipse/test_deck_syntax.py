"""Decks as people have them: stray slashes, includes, keywords that change nothing, defaults by 0."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rockbank.flow.case import Case
from rockbank.flow.eclipse.deck import read_deck
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.eclipse.text import SECTIONS
from rockbank.flow.units import BAR, DAY
from tests.flow.eclipse.test_deck import assert_same

# One layer of 4 x 2 cells; {} is where a test puts lines of its own.
PARTS = {
    "RUNSPEC": "RUNSPEC\nDIMENS\n 4 2 1 /\nOIL\nWATER\nMETRIC\nSTART\n 1 JAN 2020 /\n",
    "GRID": "GRID\nDX\n 8*10 /\nDY\n 8*10 /\nDZ\n 8*5 /\nTOPS\n 8*2000 /\n",
    "PORO": "PORO\n 8*0.2 /\n",
    "PERM": "PERMX\n 8*100 /\nCOPY\n PERMX PERMY /\n PERMX PERMZ /\n/\n",
    "PROPS": "PROPS\nSWOF\n 0.2 0 1 0\n 0.8 1 0 0\n/\nPVTW\n 200 1 4e-5 0.5 0 /\nPVCDO\n 200 1 1e-4 2 0 /\n"
    "DENSITY\n 850 1000 1 /\nROCK\n 200 1e-5 /\n",
    "SOLUTION": "SOLUTION\nEQUIL\n 2000 200 2500 0 /\n",
    "SUMMARY": "SUMMARY\nWBHP\n/\n",
    "SCHEDULE": "SCHEDULE\nWELSPECS\n INJ G 1 1 1* WATER 3* NO /\n PROD G 4 2 1* OIL 3* NO /\n/\n",
    "COMPDAT": "COMPDAT\n INJ 1 1 1 1 OPEN 1* 1* 0.2 /\n PROD 4 2 1 1 OPEN 1* 1* 0.2 /\n/\n",
    "CONTROLS": "WCONINJE\n INJ WATER OPEN RATE 5 1* 400 /\n/\nWCONPROD\n PROD OPEN BHP 5* 150 /\n/\n",
    "TSTEP": "TSTEP\n 5*10 /\n",
}


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Case]:
    """Reads the parts, some of them replaced or with lines after them."""

    def of(*, after: dict[str, str] | None = None, **parts: str) -> Case:
        text = "".join((PARTS | parts)[name] + (after or {}).get(name, "") for name in PARTS)
        (tmp_path / "CASE.DATA").write_text(text)
        return read_deck(tmp_path / "CASE.DATA")

    return of


def test_stray_slashes_are_passed_over_and_told(read: Callable[..., Case]) -> None:
    case = read(after={"GRID": "/\nINIT\n/\n", "PERM": "/ end of COPY\n", "TSTEP": "/\n"})
    assert_same(case, read())
    (note,) = [note for note in case.notes if "ends nothing" in note]
    assert [part.rpartition(":")[2] for part in note.split(", ")] == ["18", "20", "29", "66"]


@pytest.mark.parametrize(
    "text",
    ["'sub/poro.inc' /", "'sub/poro.inc'\n/", "sub/poro.inc /", "sub/poro.inc/", "sub/poro.inc", "sub/poro.inc\n\n/",
     '"sub/poro.inc" / with a comment', "sub/poro.inc/ comment", "'sub/poro.inc'\n-- why\n/ end"],
)  # fmt: skip
def test_the_slash_of_an_include_may_stand_anywhere(read: Callable[..., Case], tmp_path: Path, text: str) -> None:
    wanted = read()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "poro.inc").write_text(PARTS["PORO"])
    case = read(PORO=f"INCLUDE\n {text}\n")
    assert_same(case, wanted)
    assert case.notes == wanted.notes


def test_what_follows_a_path_without_a_slash_is_refused(read: Callable[..., Case]) -> None:
    with pytest.raises(DeckError, match=r"INCLUDE: expected a path and '/', got 'po ro.inc /'; quote a path"):
        read(PORO="INCLUDE\n po ro.inc /\n")


def test_a_slash_on_the_keyword_s_line_ends_its_record(read: Callable[..., Case]) -> None:
    case = read(after={"RUNSPEC": "REGDIMS /\nEQLDIMS /\nTUNING /\n/\n/\n", "SOLUTION": "RPTSOL / nothing\n"})
    assert_same(case, read())
    assert not [note for note in case.notes if "ends nothing" in note]


def test_keywords_that_change_nothing_are_passed_over_in_one_note(read: Callable[..., Case]) -> None:
    case = read(
        after={
            "RUNSPEC": "NUMRES\n 1 /\nVFPPDIMS\n 6* /\nVFPIDIMS\n 3* /\nAQUDIMS\n 2* 1 3* /\n",
            "GRID": "SPECGRID\n 4 2 1 1 F /\nNTG\n 8*1 /\nMULTX\n 8*1 /\nRPTGRID\n /\n",
            "PROPS": "RPTPROPS\n SWOF /\nREGIONS\nSATNUM\n 8*1 /\nFIPNUM\n 4*1 4*2 /\n",
            "SOLUTION": "RPTSOL\n RESTART=2 FIP=3 /\n",
            "SCHEDULE": "RPTSCHED\n FIP WELLS /\nRPTRST\n BASIC=2/\n",
        }
    )
    assert_same(case, read())
    (note,) = case.notes
    assert note.startswith(
        "passed over, since they change nothing here: VFPPDIMS, VFPIDIMS, AQUDIMS, RPTGRID, RPTPROPS"
    )


@pytest.mark.parametrize(
    ("name", "lines", "says"),
    [
        ("RUNSPEC", "NUMRES\n 2 /\n", "NUMRES: item 1: got 2; one reservoir"),
        ("GRID", "SPECGRID\n 4 3 1 1 F /\n", r"SPECGRID: got \(4, 3, 1\) cells; DIMENS has \(4, 2, 1\)"),
        ("GRID", "SPECGRID\n 4 2 1 1 T /\n", "SPECGRID: item 5: got 'T'; only straight axes"),
        ("GRID", "NTG\n 7*1 -0.5 /\n", r"NTG: got -0.5 in cell \(4, 2, 1\); it must be 0 or more"),
        ("PROPS", "REGIONS\nPVTNUM\n 8*2 /\n", r"PVTNUM: got 2 in cell \(1, 1, 1\) and 7 more; the deck has tables"),
        ("RUNSPEC", "FIELD\n", "the deck is of METRIC and FIELD units"),
        ("RUNSPEC", "DIMENS\n 4 2 1 /\n", "DIMENS: is given twice; keep one"),
    ],
)
def test_what_would_change_the_flow_is_refused(read: Callable[..., Case], name: str, lines: str, says: str) -> None:
    with pytest.raises(DeckError, match=says):
        read(after={name: lines})


@pytest.mark.parametrize("default", ["1*", "0", "-1"])
def test_numbers_of_0_or_less_are_the_defaults_where_eclipse_has_it_so(read: Callable[..., Case], default: str) -> None:
    wells = f"SCHEDULE\nWELSPECS\n INJ G 1 1 {default} WATER {default} STD SHUT NO {default} SEG {default} /\n"
    case = read(
        SCHEDULE=f"{wells} PROD G 4 2 {default} OIL {default} STD SHUT NO {default} /\n/\n",
        COMPDAT=f"COMPDAT\n INJ 2* 1 1 OPEN {default} {default} 0.2 {default} 0 {default} Z {default} /\n"
        f" PROD 2* 1 1 OPEN 1 {default} 0.2 {default} /\n/\n",
        CONTROLS=f"WCONINJE\n INJ WATER OPEN RATE 5 1* 400 {default} {default} /\n/\n"
        f"WCONPROD\n PROD OPEN BHP 5* 150 {default} {default} {default} /\n/\n",
    )
    assert_same(case, read())


def test_a_connection_factor_needs_no_diameter(read: Callable[..., Case]) -> None:
    case = read(COMPDAT="COMPDAT\n INJ 1 1 1 1 OPEN 1* 3.5 0 /\n PROD 4 2 1 1 OPEN 1* 3.5 1* 900 /\n/\n")
    assert [well.radius for well in case.wells] == [0.1, 0.1]
    with pytest.raises(DeckError, match="COMPDAT: item 9: has no default without a connection factor"):
        read(COMPDAT="COMPDAT\n INJ 1 1 1 1 OPEN 1* 0 0 /\n/\n")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ("INJ 1 1 1 1 OPEN 2 1* 0.2 /", r"COMPDAT: item 7: got '2', but cell \(1, 1, 1\) has table 1"),
        ("INJ 1 1 1 1 OPEN 1* 1* 0.2 900 /", "COMPDAT: item 10: got '900'; give the connection factor"),
        ("INJ 1 1 1 1 OPEN 1* 1* 0.2 3* Z 4.2 /", "COMPDAT: item 14: got '4.2'; give the connection factor"),
    ],
)
def test_numbers_that_say_more_are_refused(read: Callable[..., Case], record: str, says: str) -> None:
    with pytest.raises(DeckError, match=says):
        read(COMPDAT=f"COMPDAT\n {record}\n/\n")


def test_a_date_that_is_reached_makes_no_step(read: Callable[..., Case]) -> None:
    case = read(TSTEP="DATES\n 11 JAN 2020 /\n 11 JAN 2020 /\n/\nTSTEP\n 1 /\n")
    assert list(case.schedule.steps) == [10 * DAY, DAY]
    assert "DATES: 11.01.2020 is reached already; there is no step" in case.notes[0]


@pytest.mark.parametrize("oil", ["PVCDO\n 277 1.001 0.0 835 0 /\n", "PVDO\n 100 1.2 835\n 300 1.2 835 /\n"])
def test_a_volume_factor_that_no_pressure_changes_is_kept(read: Callable[..., Case], oil: str) -> None:
    phase = read(PROPS=PARTS["PROPS"].replace("PVCDO\n 200 1 1e-4 2 0 /\n", oil)).fluid.oil
    wanted = float(oil.split()[2])
    for pressure in (100 * BAR, 300 * BAR):
        # 1e-9 / bar over 200 bar.
        volume_factor = math.exp(-phase.compressibility * (pressure - phase.reference_pressure))
        assert volume_factor == pytest.approx(wanted, rel=2.1e-7)


SPACES = st.sampled_from([" ", "  ", "\t", "\n", "\n\n ", " -- a comment\n "])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_spacing_comments_repeats_and_slashes_change_nothing(tmp_path: Path, data: st.DataObject) -> None:
    (tmp_path / "plain.DATA").write_text("".join(PARTS.values()))
    ending = data.draw(st.sampled_from(["\n", "\r\n"]))
    parts = []
    for name, part in PARTS.items():
        if name not in ("PORO", "PERM", "TSTEP"):
            parts.append(part)
            continue
        porosity = data.draw(st.sampled_from(["8*0.2", "3*0.2 5*.2", "8*2E-1", "0.2 7*2D-1"]))
        lines = part.replace("8*0.2", porosity).splitlines()
        spaced = [line.replace(" ", data.draw(SPACES)) if line.startswith(" ") else line for line in lines]
        parts += ["\n".join(spaced), data.draw(st.sampled_from(["\n", "\n/\n", "\n/ stray\n", "\n-- none /\n"]))]
    (tmp_path / "spaced.DATA").write_bytes("".join(parts).replace("\n", ending).encode())
    plain, spaced_case = (read_deck(tmp_path / f"{name}.DATA") for name in ("plain", "spaced"))
    assert_same(replace(spaced_case, title="plain"), plain)


BEHIND_A_SLASH = st.sampled_from(["", " in words", " 'quoted", " 1 2 3 /", " -- more"])
BEHIND_A_HEADER = st.sampled_from(["", " ========", "  -- of the deck", "\t/", " ** decorated **"])
BETWEEN_KEYWORDS = st.sampled_from(
    ["", "-- A line /\n", "\n\t\n", "SKIP\nGAS\n 'unread\nENDSKIP\n", "NOECHO\n", "/\n", "RPTSOL\n/\n"]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_ways_in_which_people_write_a_deck_are_one(tmp_path: Path, data: st.DataObject) -> None:
    (tmp_path / "plain.DATA").write_text("".join(PARTS.values()))
    lines = []
    for name, part in PARTS.items():
        header, *rest = part.splitlines()
        is_section = header in SECTIONS
        lines.append(data.draw(BETWEEN_KEYWORDS) if name not in ("COMPDAT", "CONTROLS") else "")
        lines.append(header + (data.draw(BEHIND_A_HEADER) if is_section else "") + "\n")
        space, name_of, comment = (
            data.draw(st.sampled_from([" ", "\t", "   "])),
            data.draw(st.sampled_from([r"\1", r"'\1'", r'"\1"'])),
            data.draw(BEHIND_A_SLASH),
        )
        for line in rest:
            text = re.sub(r"\b(INJ|PROD)\b", name_of, line.replace(" ", space)).replace("8*", "08*")
            lines.append(text + (comment if text.endswith("/") else "") + "\n")
    ending = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    text = data.draw(st.sampled_from(["", "\ufeff"])) + "".join(lines).replace("\n", ending)
    (tmp_path / "written.DATA").write_bytes(text.encode())
    plain, written = (read_deck(tmp_path / f"{name}.DATA") for name in ("plain", "written"))
    assert_same(replace(written, title="plain"), plain)


def test_a_title_may_be_blank(read: Callable[..., Case]) -> None:
    titles = {"\n": "CASE", "-- none\n": "CASE", "\n two words\n": "two words", "DIMENS of it /\n": "DIMENS of it"}
    for title, wanted in titles.items():
        assert read(RUNSPEC=PARTS["RUNSPEC"].replace("RUNSPEC\n", f"RUNSPEC\nTITLE\n{title}")).title == wanted


SLIPS = ("", "/", "\n/\n", "0", "-1", "1*", "0*3", "999999999999*1", "1e400", "nan", "'", "INJ", "PERMX", "END", "*")
LONGER_SLIPS = ("INCLUDE\n 'CASE.DATA'\n/\n", "SOIL", "TITLE", "RPTSCHED /", "-5*2", "1e-3000", "2e5")
TOKENS = st.sampled_from((*SLIPS, *LONGER_SLIPS))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_deck_with_slips_is_read_or_refused_by_file(tmp_path: Path, data: st.DataObject) -> None:
    tokens = re.split(r"(\s+)", "".join(PARTS.values()))
    for _ in range(data.draw(st.integers(1, 3))):
        tokens[data.draw(st.integers(0, len(tokens) - 1))] = data.draw(TOKENS)
    (tmp_path / "CASE.DATA").write_text("".join(tokens))
    said = "CASE.DATA"
    try:
        read_deck(tmp_path / "CASE.DATA")
    except DeckError as error:
        said = str(error)
    assert "CASE.DATA" in said


def test_a_control_that_cannot_be_names_its_line(read: Callable[..., Case]) -> None:
    with pytest.raises(DeckError, match=r"CASE\.DATA:58: WCONPROD: control 'bhp', target: got -1e\+06"):
        read(CONTROLS=PARTS["CONTROLS"].replace("5* 150", "5* -10"))
    with pytest.raises(DeckError, match=r"PVTW: fluid: got viscosity 0.0 Pa s; it must be positive"):
        read(PROPS=PARTS["PROPS"].replace("4e-5 0.5", "4e-5 0"))


def test_water_of_which_no_more_is_said_gives_way(read: Callable[..., Case]) -> None:
    props = PARTS["PROPS"].replace("200 1 4e-5 0.5 0", "200").replace("200 1 1e-4 2 0", "200 1 1* 2")
    fluid = read(PROPS=props).fluid
    assert (fluid.water.compressibility, fluid.oil.compressibility) == (4e-5 / BAR, 0.0)
