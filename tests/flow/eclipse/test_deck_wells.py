"""What a deck's schedule asks of its wells, and what of it is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rockbank.flow.case import Case
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.equations.problem import discretise
from rockbank.flow.units import BAR, DAY
from tests.flow.eclipse.test_deck_syntax import PARTS, read

__all__ = ["read"]


def kinds(case: Case, well: str) -> list[tuple[str, float]]:
    """Of each step, what holds a well, in m^3/day or bar."""
    return [
        (of.kind, round(float(of.target) * (1 / BAR if of.kind == "bhp" else DAY), 9)) for of in case.schedule.of(well)
    ]


def test_what_is_asked_of_wells_follows_the_schedule(read: Callable[..., Case]) -> None:
    case = read(
        TSTEP="TSTEP\n 1 /\nWELTARG\n INJ WRAT 4 /\n PROD BHP 140 /\n/\nTSTEP\n 1 /\n"
        "WELOPEN\n 'P*' SHUT 5* /\n INJ SHUT 0 0 0 /\n/\nTSTEP\n 1 /\n"
        "WELOPEN\n INJ OPEN /\n/\nWCONHIST\n PROD OPEN LRAT 3 2 /\n/\nWCONINJH\n INJ WATER OPEN 6 /\n/\nTSTEP\n 1 /\n"
        "WCONHIST\n PROD OPEN RESV 0 0 /\n/\nTSTEP\n 1 /\nWCONHIST\n PROD OPEN BHP 3 2 4* 120 /\n/\nTSTEP\n 1 /\n"
    )
    assert kinds(case, "INJ") == [("rate", 5.0), ("rate", 4.0), ("shut", 0.0), *[("rate", 6.0)] * 3]
    assert kinds(case, "PROD") == [("bhp", 150.0), ("bhp", 140.0), ("shut", 0.0), ("rate", 5.0), ("rate", 0.0),
                                   ("bhp", 120.0)]  # fmt: skip


@pytest.mark.parametrize("says", ["WCONPROD\n PROD STOP ORAT 3 /\n/\n", "WELOPEN\n PROD STOP /\n/\n"])
def test_a_well_is_stopped_above_the_perforations_between_which_it_may_cross_flow(
    read: Callable[..., Case], says: str
) -> None:
    steps = f"TSTEP\n 1 /\n{says}TSTEP\n 1 /\n{says.replace('STOP', 'SHUT')}TSTEP\n 1 /\n"
    perforated = PARTS["COMPDAT"].replace(" PROD 4 2", " PROD 4 1 1 1 OPEN 1* 1* 0.2 /\n PROD 4 2")
    for crosses, lines, kind in (("YES", perforated, "rate"), ("NO", perforated, "shut"),
                                 ("YES", PARTS["COMPDAT"], "shut")):  # fmt: skip
        specs = PARTS["SCHEDULE"].replace("OIL 3* NO", f"OIL 3* {crosses}")
        case = read(SCHEDULE=specs, COMPDAT=lines, TSTEP=steps)
        assert kinds(case, "PROD") == [("bhp", 150.0), (kind, 0.0), ("shut", 0.0)]


def test_a_history_s_limit_of_pressure_stays_while_the_well_follows_rates(read: Callable[..., Case]) -> None:
    history, target = "WCONHIST\n PROD OPEN {} 3 2 4* 120 /\n/\n", "WELTARG\n PROD BHP 140 /\n/\n"
    rate, pressure, shut = history.format("ORAT"), history.format("BHP"), history.format("ORAT").replace("OPEN", "SHUT")
    predicted = "WCONPROD\n PROD OPEN ORAT 3 /\n/\n"

    def limits(*steps: str) -> list[float | None]:
        controls = read(TSTEP="".join(f"{of}TSTEP\n 1 /\n" for of in steps)).schedule.of("PROD")
        return [of.limit if of.limit is None else round(float(of.limit) / BAR, 9) for of in controls]

    least = 1.01325
    assert limits(rate, rate + target, rate, rate + rate) == [least, 140, 140, 140]
    assert limits(rate + target, shut, rate) == [140, None, 140]
    assert limits(rate + target, pressure, rate) == [140, None, least]
    assert limits(pressure + target, rate) == [None, least]
    assert limits(rate + target, predicted, rate) == [140, least, least]
    assert limits(predicted + target, rate) == [140, least]

    injected = "WCONINJH\n INJ WATER OPEN 6 /\n/\n"
    lines = injected + "WELTARG\n INJ BHP 300 /\n/\n" + injected + "TSTEP\n 1 /\n"
    assert read(TSTEP=lines).schedule.of("INJ")[0].limit == pytest.approx(300 * BAR)


def test_limits_that_are_never_reached_are_none(read: Callable[..., Case]) -> None:
    produced = "WCONPROD\n PROD OPEN LRAT 20 10 999 10 1* 150 /\n/\n"
    case = read(CONTROLS=PARTS["CONTROLS"].partition("WCONPROD")[0] + produced)
    assert kinds(case, "PROD")[0] == ("rate", 10.0)
    with pytest.raises(DeckError, match="ORAT: under LRAT, only a bottom-hole pressure can be the limit"):
        read(CONTROLS=PARTS["CONTROLS"].partition("WCONPROD")[0] + produced.replace("20 10 999", "5 10 999"))


def test_a_well_that_flows_a_part_of_the_time_has_mean_rates(read: Callable[..., Case]) -> None:
    case, plain = read(TSTEP="WEFAC\n INJ 0.8 /\n/\n" + PARTS["TSTEP"]), read()
    index, wanted = (
        discretise(of.rock, of.fluid, of.wells, of.schedule, of.initial)[1].well_index[0] for of in (case, plain)
    )
    assert index.tolist() == pytest.approx([0.8 * float(wanted[0]), float(wanted[1])])
    assert kinds(case, "INJ")[0] == ("rate", 4.0)
    assert any("flows 0.8 of the time (WEFAC)" in note for note in case.notes)
    measured = read(TSTEP="WEFAC\n INJ 0.8 /\n/\nWCONINJH\n INJ WATER OPEN 5 300 /\n/\nTSTEP\n 1 /\n").history
    assert measured["INJ", "water_rate"] * DAY == pytest.approx(0.8 * 5)
    assert measured["INJ", "bhp"] == pytest.approx(300 * BAR)
    with pytest.raises(DeckError, match="WEFAC: item 2: well 'INJ' flows already; the factor cannot change later"):
        read(TSTEP="TSTEP\n 1 /\nWEFAC\n INJ 0.8 /\n/\nTSTEP\n 1 /\n")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("WELTARG\n PROD RESV 5 /\n/\n", "WELTARG: item 2: a target of 'RESV' is not supported; use ORAT, WRAT"),
        ("WELOPEN\n PROD SHUT 1 1 1 /\n/\n", "WELOPEN: items 3 to 7: perforations cannot be opened or shut one by one"),
        ("WCONHIST\n PROD OPEN RESV 3 2 /\n/\n", "WCONHIST: item 3: control by 'RESV' is not supported"),
        ("WCONINJH\n INJ GAS OPEN 3 /\n/\n", "WCONINJH: item 2: got 'GAS'; only WATER"),
        ("WCONINJH\n PROD WATER OPEN 3 /\n/\n", "WCONINJH: well 'PROD' is producer already; it cannot change"),
        ("TSTEP\n 1 /\nCOMPDAT\n PROD 3 2 1 1 OPEN 1* 1* 0.2 /\n/\n", "COMPDAT: well 'PROD' flows already"),
        ("WEFAC\n PROD 1.5 /\n/\n", r"WEFAC: item 2: got 1.5; it must lie in \(0, 1\]"),
    ],
)
def test_what_cannot_be_asked_of_a_well_is_refused(read: Callable[..., Case], lines: str, says: str) -> None:
    with pytest.raises(DeckError, match=says):
        read(TSTEP=lines + PARTS["TSTEP"])
