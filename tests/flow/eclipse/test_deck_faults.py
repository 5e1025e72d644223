"""What a deck asks and cannot have is told in one go, each with its place and its own cause."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rockbank.flow.case import Case
from rockbank.flow.eclipse.deck import read_deck
from rockbank.flow.eclipse.lines import DeckError
from tests.flow.eclipse.test_deck import assert_same
from tests.flow.eclipse.test_deck_syntax import PARTS, read

__all__ = ["read"]


def told(refused: pytest.ExceptionInfo[DeckError]) -> list[str]:
    """Without the folder."""
    return [line.rpartition("CASE.DATA")[2] for line in str(refused.value).splitlines()]


def test_everything_is_told_once_with_line_and_cause(read: Callable[..., Case]) -> None:
    with pytest.raises(DeckError) as refused:
        read(
            after={
                "RUNSPEC": "GAS\nENDSCALE\n DIRECT REVERS /\n",
                "GRID": "AQUTAB\n 0.1 0.2\n 0.3 0.4 /\n 0.1 0.3 /\n",
                "PROPS": "SWLX\n 8*0.1 /\nSWLX\n 8*0.1 /\nEQUALS\n KRWX 0.5 /\n PORO 0.3 /\n/\n",
            },
            TSTEP="WELOPEN\n NONE OPEN /\n INJ FLOW /\n/\nTSTEP\n 0 /\nTSTEP\n 1 /\nWECON\n PROD 1 /\n/\n",
        )
    assert told(refused) == [
        ":9: keyword GAS is not supported in section RUNSPEC; there is water and oil, no gas",
        ":21: keyword AQUTAB is not supported in section GRID; analytical aquifers are not computed",
        ":46: keyword SWLX is not supported in section PROPS (and 1 more); end points are those of all "
        "directions, as numbers of cells",
        ":83: keyword WECON is not supported in section SCHEDULE; no limits close or test wells",
        ":11: ENDSCALE: item 1: got 'DIRECT'; end points are those of all directions, say NODIR",
        ":51: EQUALS: array KRWX is not supported; end points are those of all directions, as numbers of cells",
        ":76: WELOPEN: no well 'NONE'; known are ['INJ', 'PROD']",
        ":77: WELOPEN: item 2: got 'FLOW'; use OPEN, SHUT or STOP",
        ":80: TSTEP: got a step of 0 s; times have to increase",
    ]


def test_what_follows_from_a_fault_is_not_told_as_another(read: Callable[..., Case]) -> None:
    with pytest.raises(DeckError) as refused:
        read(
            PORO="PORO\n 7*0.2 /\n",
            PROPS=PARTS["PROPS"].replace("0.8 1 0 0", "0.8 1 0 zero"),
            SCHEDULE=PARTS["SCHEDULE"].replace("INJ G 1 1 1*", "INJ G 1.5 1 1*"),
        )
    assert [line.split(": ")[1] for line in told(refused)] == ["PORO", "WELSPECS", "SWOF"]


def test_files_that_are_not_there_are_told_together(read: Callable[..., Case]) -> None:
    with pytest.raises(DeckError) as refused:
        read(PORO="INCLUDE\n 'poro.inc' /\n", SCHEDULE="SCHEDULE\nINCLUDE 'wells.sch' /\n")
    lines = str(refused.value).splitlines()
    assert [line.partition("INCLUDE: ")[2].rpartition("/")[2] for line in lines] == [
        "poro.inc: cannot be read (No such file or directory); correct the path",
        "wells.sch: cannot be read (No such file or directory); correct the path",
    ]


def test_records_of_a_word_are_no_keywords(read: Callable[..., Case]) -> None:
    with pytest.raises(DeckError) as refused:
        read(after={"RUNSPEC": "GAS\nDISGAS\n"}, TSTEP="WHATEVER\n PROD\n/\n/\n" + PARTS["TSTEP"])
    assert [line.split(": ", 1)[1].partition(" is not")[0] for line in told(refused)] == [
        "keyword GAS",
        "keyword DISGAS",
        "keyword WHATEVER",
    ]


def test_lines_that_are_no_keyword_have_one_cause(read: Callable[..., Case]) -> None:
    with pytest.raises(DeckError) as refused:
        read(PORO="PORO\n 4*0.2 /\n 0.2 0.2\n 0.2 0.2 /\n")
    assert [line.split(": ", 1)[1] for line in told(refused)] == [
        "PORO: got 4 numbers for 8 cells",
        "expected a keyword, got '0.2 0.2'; is a '/' missing or one too many above?",
    ]


def test_an_action_is_one_keyword(read: Callable[..., Case]) -> None:
    action = "ACTIONX\n A 1 /\n WWCT PROD > 0.5 /\n/\nWCONPROD\n PROD OPEN RESV /\n/\nENDACTIO\n"
    with pytest.raises(DeckError) as refused:
        read(TSTEP=action + PARTS["TSTEP"])
    assert [line.split(": ", 1)[1] for line in told(refused)] == [
        "keyword ACTIONX is not supported in section SCHEDULE; the schedule does not depend on results"
    ]


HARMLESS = {
    "RUNSPEC": "VFPPDIMS\n 10 10 /\nUDQDIMS\n 5 5 /\nNOSIM\nMULTOUT\nPATHS\n 'HERE' '.' /\n/\nSKIP\nGAS\nENDSKIP\n",
    "GRID": "GRIDFILE\n 0 1 /\nMINPV\n 1e-3 /\nGRIDOPTS\n YES 0 /\nNTG\n 8*1 /\nSKIP100\nnothing of this\nENDSKIP\n",
    "PROPS": "REGIONS\nFIPNUM\n 8*2 /\nPVTNUM\n 8*1 /\n",
    "SUMMARY": "WBHP\n PROD\n/\nBPR\n 1 1 1 /\n/\nWOPRH\nFOPR\nRPTONLY\nAAQR\n 1 /\nWUWHAT\n/\n",
    "SCHEDULE": "GRUPTREE\n G FIELD /\n/\nVFPPROD\n 1 2000 LIQ /\n 1 2 /\n 10 /\n 1 1 1 1 10 20 /\n"
    "WRFTPLT\n P* YES /\n/\n",
}


def test_what_changes_nothing_is_one_note(read: Callable[..., Case]) -> None:
    case = read(after=HARMLESS)
    assert_same(case, read())
    (note,) = case.notes
    assert note == (
        "passed over, since they change nothing here: VFPPDIMS, UDQDIMS, NOSIM, MULTOUT, PATHS, GRIDFILE, GRIDOPTS, "
        "GRUPTREE, VFPPROD, WRFTPLT"
    )


def test_a_well_that_nothing_is_asked_of_is_left_out(read: Callable[..., Case]) -> None:
    case = read(SCHEDULE=PARTS["SCHEDULE"].replace("WELSPECS\n", "WELSPECS\n SPARE G 2 2 1* OIL 3* NO /\n"))
    assert [well.name for well in case.wells] == ["INJ", "PROD"]
    assert "well 'SPARE' has no WCONINJE or WCONPROD: it is left out" in case.notes[0]


def test_a_deck_of_devices_circles_and_endless_repeats_is_refused_at_once(tmp_path: Path) -> None:
    for text, says in (
        ("RUNSPEC\nINCLUDE\n /dev/zero /\n", "is a folder or a device; name a file"),
        ("RUNSPEC\nINCLUDE\n '.' /\n", "is a folder or a device; name a file"),
        ("RUNSPEC\nINCLUDE\n 'a.inc' /\n", "a.inc: is included within itself; take that out"),
        ("RUNSPEC\nINCLUDE\n 'wide.inc' /\n", "at most 2000 and 20 are read"),
        ("RUNSPEC\nDIMENS\n 2 2 1 /\nGRID\nDX\n 1000000000*1 /\n", "got 1000000000*1; repeat once or more"),
        ("RUNSPEC\nDIMENS\n 2 2 1 /\nGRID\nDX\n 0*1 4*2 /\n", "got 0*1; repeat once or more"),
        ("RUNSPEC\nDIMENS\n 2 2 1 /\nGRID\nDX\n 90000000*1 /\n", "got 90000000 numbers for 4 cells"),
        ("RUNSPEC\nDIMENS\n 2 2 1 /\nSCHEDULE\nTSTEP\n 90000000*1 /\n", "got 90000000 steps; give 1000000 at most"),
        ("RUNSPEC\nDIMENS\n 99999 99999 99999 /\n", "give 1 or more along each axis, 100000000 in all at most"),
    ):
        (tmp_path / "a.inc").write_text("INCLUDE\n 'b.inc' /\n")
        (tmp_path / "b.inc").write_text("INCLUDE\n 'a.inc' /\n")
        (tmp_path / "wide.inc").write_text("INCLUDE\n empty.inc /\n" * 3000)
        (tmp_path / "empty.inc").write_text("")
        (tmp_path / "CASE.DATA").write_text(text)
        with pytest.raises(DeckError) as refused:
            read_deck(tmp_path / "CASE.DATA")
        assert says in str(refused.value)


def test_what_follows_from_a_phase_or_a_file_that_is_missing_is_not_told(read: Callable[..., Case]) -> None:
    with pytest.raises(DeckError) as refused:
        read(
            RUNSPEC=PARTS["RUNSPEC"].replace("OIL\n", ""),
            PROPS="PROPS\nPVTW\n 200 1 4e-5 0.5 /\n",
            PORO=PARTS["PORO"] + "INCLUDE\n 'swl.inc' /\nCOPY\n SWL SWCR /\n/\n",
        )
    causes = [line.rpartition(": ")[2] for line in told(refused)]
    assert causes == [
        "cannot be read (No such file or directory); correct the path",
        "the deck is not of OIL and WATER; say both in RUNSPEC",
    ]


def test_a_quantity_of_the_user_is_named_as_such(read: Callable[..., Case]) -> None:
    with pytest.raises(DeckError, match="WELTARG: item 3: got 'WU_BHP', a quantity of the user's"):
        read(TSTEP="WELTARG\n PROD BHP WU_BHP /\n/\n" + PARTS["TSTEP"])


def test_a_name_longer_than_eight_letters_is_that_of_its_first_eight(read: Callable[..., Case]) -> None:
    with pytest.raises(DeckError, match="keyword SURFACTA is not supported in section RUNSPEC; water and oil have"):
        read(after={"RUNSPEC": "SURFACTANT\n"})


def test_tracers_and_tables_of_gas_change_nothing(read: Callable[..., Case]) -> None:
    after = {"RUNSPEC": "LGR\n 2 100 /\nTRACERS\n 0 1 /\n", "PROPS": "TRACER\n T1 WAT /\n/\n",
             "SOLUTION": "RSVD\n 2000 0 2100 0 /\nRS\n 8*0 /\nTBLKFT1\n 8*0 /\n"}  # fmt: skip
    assert_same(read(after=after, TSTEP="WTRACER\n INJ T1 1 /\n/\n" + PARTS["TSTEP"]), read())


def test_the_control_of_a_step_is_what_all_its_records_ask_for(read: Callable[..., Case]) -> None:
    shut = PARTS["CONTROLS"].partition("WCONPROD")[0] + "WCONPROD\n PROD SHUT 6* 150 /\n/\n"
    opened = "TSTEP\n 1 /\nWELOPEN\n PROD OPEN /\n/\nWELTARG\n PROD ORAT 4 /\n/\nTSTEP\n 1 /\n"
    kinds = [control.kind for control in read(CONTROLS=shut, TSTEP=opened).schedule.of("PROD")]
    assert kinds == ["shut", "oil"]
    with pytest.raises(DeckError, match="WELOPEN: well 'PROD' is open, but nothing says what controls it"):
        read(CONTROLS=shut, TSTEP=opened.replace("WELTARG\n PROD ORAT 4 /\n/\n", ""))
