"""TUNING and EQUIL's item 9: what a deck asks of steps, tolerances and the initial state is used, refused or noted."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rockbank.flow.casefile.file import load_case
from rockbank.flow.eclipse.deck import read_deck
from rockbank.flow.eclipse.text import DeckError
from rockbank.flow.eclipse.writer import write_deck
from rockbank.flow.equations.equilibrium import equilibrium
from rockbank.flow.equations.options import Options
from rockbank.flow.steppers.step_sizes import step_sizes
from rockbank.flow.units import DAY

DECK = """
RUNSPEC
DIMENS
  1 1 4 /
OIL
WATER
METRIC
GRID
DXV
 10 /
DYV
 10 /
DZV
 4*10 /
TOPS
 1000 /
EQUALS
 PERMX 100 /
 PERMY 100 /
 PERMZ 100 /
 PORO 0.2 /
/
PROPS
SWOF
 0.2 0 0.8 0
 0.8 0.6 0 0 /
PVTW
 200 1 4e-5 0.5 /
PVCDO
 200 1 1e-4 2 0 /
DENSITY
 800 1000 1 /
ROCK
 200 4e-5 /
SOLUTION
EQUIL
 1000 200 1015 0{equil} /
SCHEDULE
WELSPECS
 P G 1 1 1* OIL 3* NO /
/
COMPDAT
 P 2* 1 1 OPEN 1* 1* 0.2 /
/
WCONPROD
 P OPEN BHP 5* 190 /
/
{tuning}
TSTEP
 1 /
{later}
END
"""


def read(folder: Path, *, equil: str = "", tuning: str = "", later: str = ""):
    path = folder / "A.DATA"
    path.write_text(DECK.format(equil=equil, tuning=tuning, later=later))
    return read_deck(path)


@pytest.mark.parametrize(("equil", "slices"), [("", 10), (" 4* 0", 1), (" 4* -3", 6), (" 4* 2", 4)])
def test_item_9_of_equil_says_over_how_many_slices_a_cell_is_averaged(tmp_path, equil, slices):
    case = read(tmp_path, equil=equil)
    given = {"datum": 1000.0, "pressure": 2e7, "contact": 1015.0, "slices": slices}
    expected = equilibrium(case.rock.grid, case.fluid, **given)
    assert torch.equal(case.initial.pressure, expected.pressure)
    assert torch.equal(case.initial.saturation, expected.saturation)


def test_tuning_sets_steps_tolerances_and_iterations(tmp_path):
    case = read(tmp_path, tuning="TUNING\n 0.5 30 2* 2 /\n 1* 1e-4 1e-8 /\n 12 /")
    assert case.options == Options(
        first_step=0.5 * DAY, largest_step=30 * DAY, growth=2.0, cnv=1e-4, mb=1e-8, max_iterations=12
    )
    assert not any("TUNING" in note for note in case.notes)


def test_without_tuning_the_first_step_is_of_a_day_as_other_simulators_have_it(tmp_path):
    assert read(tmp_path).options == Options(first_step=DAY, growth=2.0)
    assert read(tmp_path, tuning="TUNING\n 1* 30 /\n /\n /").options == Options(first_step=DAY, largest_step=30 * DAY)


@pytest.mark.parametrize("options", [Options(), Options(first_step=DAY / 3, largest_step=7 * DAY, growth=1.7, cnv=1e-5,
                                                        mb=1e-9, max_iterations=9)])  # fmt: skip
def test_a_written_deck_has_the_steps_and_tolerances_of_its_case(tmp_path, options):
    case = replace(read(tmp_path), options=options)
    write_deck(tmp_path / "B.DATA", case, least_compressibility=0.0)
    read_again = read_deck(tmp_path / "B.DATA").options
    steps = case.schedule.steps
    assert [of.tolist() for of in step_sizes(steps, read_again)] == [of.tolist() for of in step_sizes(steps, options)]
    assert replace(read_again, first_step=options.first_step) == options


def test_what_steers_other_simulators_is_noted(tmp_path):
    case = read(tmp_path, tuning="TUNING\n 1 365 0.1 /\n /\n 12 1 50 /")
    assert any("TUNING: passed over are items 3 of record 1, 2 of record 3, 3 of record 3" in of for of in case.notes)


@pytest.mark.parametrize(
    ("where", "says"),
    [
        (
            {"tuning": "TUNING\n 9* 1 /\n /\n /"},
            "TUNING: item 10: got '1'; no step is shorter because a well has changed",
        ),
        ({"tuning": "TUNING\n 0 /\n /\n /"}, r"TUNING: options: got first_step 0.0 s; it must be positive"),
        ({"later": "TUNING\n 1 /\n /\n /\nTSTEP\n 1 /"}, "TUNING: comes after the first step"),
    ],
)
def test_tuning_that_cannot_be_used_is_refused_with_its_line(tmp_path, where, says):
    with pytest.raises(DeckError, match=rf"A.DATA:\d+: {says}"):
        read(tmp_path, **where)


def test_a_case_files_options_go_over_its_decks(tmp_path):
    read(tmp_path, tuning="TUNING\n 0.5 30 /\n /\n /")
    (tmp_path / "case.yaml").write_text("deck: A.DATA\noptions: {largest_step: 10 days, solver: direct}\n")
    assert load_case(tmp_path / "case.yaml").options == Options(
        first_step=0.5 * DAY, largest_step=10 * DAY, solver="direct"
    )


def test_a_case_file_sets_its_decks_options_back(tmp_path):
    read(tmp_path, tuning="TUNING\n 0.5 30 2* 2 /\n 1* 1e-5 /\n 12 /")
    (tmp_path / "case.yaml").write_text("deck: A.DATA\noptions: {first_step: null, growth: 3, cnv: 0.001}\n")
    assert load_case(tmp_path / "case.yaml").options == Options(largest_step=30 * DAY, max_iterations=12)
