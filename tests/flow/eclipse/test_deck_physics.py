"""What would change the run is used: multipliers, faults, corner points, regions, what is asked of wells.

The same decks were run by OPM Flow: tests/flow/test_opm_decks.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.eclipse.writer import require_writable
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import discretise
from rockbank.flow.equations.rock import fault_multiplier, pore_volume, transmissibility
from rockbank.flow.simulate import simulate
from rockbank.flow.units import BAR, DAY
from tests.flow.eclipse.test_deck import assert_same
from tests.flow.eclipse.test_deck_syntax import PARTS, read

__all__ = ["read"]

CORNERS = (
    "GRID\nCOORD\n" + "".join(f" {10 * i} {10 * j} 1990 {10 * i} {10 * j} 2010\n" for j in range(3) for i in range(5))
    + "/\nZCORN\n" + " 2000 2000 2001 2001 2004 2004 2005 2005\n" * 4
    + " 2005 2005 2006 2006 2009 2009 2010 2010\n" * 4 + "/\n"
)  # fmt: skip


def factors(case: Case, plain: Case) -> dict[tuple[int, int], float]:
    """By how much a deck changes the transmissibility between two cells, where it does."""
    ratio = (transmissibility(case.rock) / transmissibility(plain.rock))[0]
    pairs = [(int(left), int(right)) for left, right in case.rock.grid.faces]
    return {pair: round(float(r), 12) for pair, r in zip(pairs, ratio, strict=True) if abs(r - 1) > 1e-12}


def test_multipliers_are_of_the_faces_behind_or_before_a_cell(read: Callable[..., Case]) -> None:
    # Cells are numbered along y first: (i, j) is 2 i + j.
    case = read(
        after={"PERM": "EQUALS\n MULTX 0.5 2 2 1 1 1 1 /\n MULTX- 0.1 2 2 2 2 1 1 /\n MULTY 0 4 4 1 1 1 1 /\n/\n"}
    )
    assert factors(case, read()) == {(2, 4): 0.5, (1, 3): 0.1, (6, 7): 0.0}


def test_the_last_factor_of_a_fault_multiplies_its_faces(read: Callable[..., Case]) -> None:
    fault = (
        "FAULTS\n F 2 2 1 2 1 1 X /\n G 4 4 2 2 1 1 'Y-' /\n/\nMULTFLT\n F 0.5 /\n G 0.25 /\n/\nMULTFLT\n F 0.25 /\n/\n"
    )
    assert factors(read(after={"PERM": fault}), read()) == {(2, 4): 0.25, (3, 5): 0.25, (6, 7): 0.25}
    before, case = read(after={"PERM": fault.split("MULTFLT")[0]}), read(after={"PERM": fault})
    moved = fault_multiplier(before.rock, {"F": 0.25, "G": torch.tensor(0.25)})
    assert torch.equal(moved, case.rock.face_multiplier)
    with pytest.raises(InputError, match=r"rock: got fault 'H'; known are \['F', 'G'\]"):
        fault_multiplier(case.rock, {"H": 2.0})
    with pytest.raises(DeckError, match=r"MULTFLT: no fault 'H'; known are \['F', 'G'\]"):
        read(after={"PERM": fault.replace("MULTFLT\n F", "MULTFLT\n H", 1)})


def test_a_fault_is_sealed_whatever_is_said_of_its_faces_later(read: Callable[..., Case]) -> None:
    fault = "FAULTS\n F 2 2 1 2 1 1 X /\n/\nMULTFLT\n F 0.5 /\n/\n"
    multiplied = {(0, 2): 0.1, (1, 3): 0.1, (2, 4): 0.05, (3, 5): 0.05, (4, 6): 0.1, (5, 7): 0.1}
    for later in ("EQUALS\n MULTX 0.1 /\n/\n", "EDIT\nEQUALS\n MULTX 0.1 /\n/\n", "MULTX\n 8*0.1 /\n"):
        assert factors(read(after={"PERM": fault + later}), read()) == multiplied
    with pytest.raises(DeckError, match=r":\d+: MULTFLT: item 2: got -1; it must be 0 or more"):
        read(after={"PERM": fault.replace("0.5", "-1")})
    with pytest.raises(DeckError) as refused:
        read(after={"PERM": fault.replace("1 1 X", "1 1 W")})
    (line,) = str(refused.value).splitlines()
    assert "FAULTS: item 8: got 'W'" in line


@pytest.mark.parametrize(
    ("grid", "edit"),
    [
        ("MULTX\n 8*0.5 /\n", "MULTX\n 8*0.2 /\n"),
        ("EQUALS\n MULTX 0.5 /\n/\n", "EQUALS\n MULTX 0.2 /\n/\n"),
        ("EQUALS\n MULTX 0.5 /\n/\n", "MULTIPLY\n MULTX 0.2 /\n/\n"),
        ("EQUALS\n MULTX 0.1 /\n/\n", "ENDBOX\n"),
    ],
)
def test_multipliers_of_edit_multiply_those_of_grid(read: Callable[..., Case], grid: str, edit: str) -> None:
    case = read(after={"PERM": grid + "EDIT\n" + edit})
    assert set(factors(case, read()).values()) == {0.1}
    assert not any("given again" in note for note in case.notes)
    pores = read(after={"PERM": (grid + "EDIT\n" + edit).replace("MULTX", "MULTPV")})
    torch.testing.assert_close(pore_volume(pores.rock), 0.1 * pore_volume(read().rock))
    with pytest.raises(DeckError, match=r":27: MULTX: got -1 in cell \(1, 1, 1\) and 7 more; it must be 0 or more"):
        read(after={"PERM": "MULTX\n 8*-1 /\nEDIT\n" + edit})


def test_a_box_ends_with_its_section(read: Callable[..., Case]) -> None:
    regions = "EQUALS\n SATNUM 2 /\n/\nFIPNUM\n 8*3 /\n"
    table = PARTS["PROPS"].partition("PVTW")[0].partition("SWOF")[2]
    props = PARTS["PROPS"].replace("PVTW", table.lstrip("\n") + "PVTW", 1)
    case = read(
        after={
            "RUNSPEC": "TABDIMS\n 2 /\n",
            "PERM": "BOX\n 1 2 1 2 1 1 /\nMULTPV\n 4*2 /\n",
            "PROPS": "REGIONS\n" + regions,
        },
        PROPS=props,
    )
    assert (case.regions["SATNUM"] == 2).all()
    assert (case.regions["FIPNUM"] == 3).all()


def test_cells_are_joined_and_their_connections_edited(read: Callable[..., Case]) -> None:
    nnc = "NNC\n 1 1 1 4 2 1 2 /\n 1 1 1 2 1 1 3 /\n 4 2 1 1 1 1 1 /\n/\n"
    nnc += "EDITNNC\n 4 2 1 1 1 1 0.5 /\n 1 1 1 3 1 1 2 /\n 1 1 1 2 1 1 9 /\n/\n"
    case, plain = read(after={"PERM": nnc}), read()
    pairs = [(int(left), int(right)) for left, right in case.rock.grid.faces]
    t, own = transmissibility(case.rock)[0], transmissibility(plain.rock)[0]
    unit = 1e-3 / DAY / BAR
    assert pairs[-1] == (0, 7)
    assert float(t[-1]) == pytest.approx(0.5 * 3 * unit)
    at = pairs.index((0, 2))
    assert float(t[at] - own[at]) == pytest.approx(3 * unit)
    assert [note.partition("EDITNNC: ")[2].partition(";")[0] for note in case.notes if "EDITNNC" in note] == [
        "there is no such connection",
        "neighbours are none that it edits",
    ]
    with pytest.raises(DeckError) as refused:
        read(after={"PERM": "NNC\n 1 1 1 5 1 1 2 /\n 1 1 1 1 1 1 2 /\n/\n"})
    assert "cell (5, 1, 1) is outside the grid" in str(refused.value)
    assert "joins a cell with itself" in str(refused.value)


def test_slabs_take_no_linked_grid(read: Callable[..., Case]) -> None:
    case = read(after={"PERM": "NNC\n 1 1 1 4 2 1 2 /\n/\n"})
    with pytest.raises(InputError, match="solver 'slabs' takes only grids in which neighbours alone touch"):
        simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial,
                 options=Options(method="newton", solver="slabs"))  # fmt: skip


def test_net_rock_and_pore_multipliers_are_of_the_pores(read: Callable[..., Case]) -> None:
    case, plain = read(after={"PERM": "NTG\n 8*0.5 /\nMULTPV\n 8*3 /\n"}), read()
    torch.testing.assert_close(pore_volume(case.rock), 1.5 * pore_volume(plain.rock))
    torch.testing.assert_close(transmissibility(case.rock), 0.5 * transmissibility(plain.rock))
    index, wanted = (
        discretise(of.rock, of.fluid, of.wells, of.schedule, of.initial)[1].well_index for of in (case, plain)
    )
    torch.testing.assert_close(index, 0.5 * wanted)


def test_arrays_by_regions_and_bounds(read: Callable[..., Case]) -> None:
    lines = (
        "MULTNUM\n 4*1 4*2 /\nMULTIREG\n PERMX 3 2 M /\n/\nEQUALREG\n PORO 0.1 1 /\n/\nADDREG\n PORO 0.05 2 M /\n/\n"
        "COPYREG\n PERMX PERMY 2 M /\n/\nMINVALUE\n PERMX 150 /\n/\nMAXVALUE\n PERMY 250 /\n/\n"
    )
    case = read(after={"RUNSPEC": "GRIDOPTS\n YES 2 /\n", "PERM": lines})
    k_x, k_y, _ = (k[:, :, ...] / 9.869232667160130e-16 for k in case.rock.components)
    assert k_x[0].tolist() == pytest.approx([150.0, 300.0])
    assert k_y[0].tolist() == pytest.approx([100.0, 250.0])
    assert case.rock.porosity[0].tolist() == pytest.approx([0.1, 0.25])


def test_arrays_are_computed_from_others(read: Callable[..., Case]) -> None:
    lines = (
        "OPERNUM\n 4*1 4*2 /\nOPERATER\n PERMX 1 MULTA PERMX 2 5 /\n PERMY 2 MAXLIM PERMX 90 /\n/\n"
        "OPERATE\n PERMZ 1 4 2 2 1 1 MULTP PERMX 0.1 1 /\n PORO 1 1 1 1 1 1 MINLIM PORO 0.25 /\n/\n"
    )
    case = read(after={"PERM": lines})
    k_x, k_y, k_z = (k / 9.869232667160130e-16 for k in case.rock.components)
    assert k_x[0].tolist() == pytest.approx([205.0, 100.0])
    assert k_y[0].tolist() == pytest.approx([100.0, 90.0])
    assert k_z[0].tolist() == pytest.approx([100.0, 10.0])
    assert case.rock.porosity[:2, 0].tolist() == pytest.approx([0.25, 0.2])
    with pytest.raises(DeckError, match="OPERATER: got 'ROOT'; use one of MULTA, POLY"):
        read(after={"PERM": "OPERNUM\n 8*1 /\nOPERATER\n PERMX 1 ROOT PERMX /\n/\n"})


def test_regions_of_which_nothing_is_said_are_refused(read: Callable[..., Case]) -> None:
    # Without GRIDOPTS, those of FLUXNUM are meant.
    with pytest.raises(DeckError, match="MULTIREG: FLUXNUM has no values yet"):
        read(after={"PERM": "MULTNUM\n 8*1 /\nMULTIREG\n PERMX 3 1 /\n/\n"})


def test_rock_that_changes_with_time_is_refused(read: Callable[..., Case]) -> None:
    with pytest.raises(DeckError, match="EQUALS: rock does not change with time; say it before SCHEDULE"):
        read(TSTEP="EQUALS\n MULTX 0.5 /\n/\n" + PARTS["TSTEP"])


def test_corner_points_dip_and_are_simulated_with_exact_gradients(read: Callable[..., Case]) -> None:
    case = read(GRID=CORNERS, TSTEP="TSTEP\n 2*10 /\n")
    np.testing.assert_allclose(case.rock.grid.depth.reshape(4, 2)[:, 0], [2002.5, 2003.5, 2006.5, 2007.5])
    assert case.fluid.gravity > 0
    k = case.rock.permeability
    k = k if isinstance(k, torch.Tensor) else k[0]

    def injected(log_factor: torch.Tensor) -> torch.Tensor:
        rock = type(case.rock)(**{**vars_of(case), "permeability": k * log_factor.exp()})
        return simulate(rock, case.fluid, case.wells, case.schedule, initial=case.initial).oil_rate[-1].sum() * DAY

    at = torch.zeros_like(k).requires_grad_()
    (gradient,) = torch.autograd.grad(injected(at), at)
    direction = torch.linspace(-1, 1, k.numel(), dtype=torch.float64).reshape(k.shape)
    step = 1e-4
    slope = (injected(step * direction) - injected(-step * direction)) / (2 * step)
    # Newton's tolerance of a rate, by the step.
    assert float((gradient * direction).sum()) == pytest.approx(float(slope.detach()), rel=2e-3)


def vars_of(case: Case) -> dict[str, object]:
    """The fields of the rock."""
    return dict(vars(case.rock))


def test_layers_of_tilted_tops_are_corner_points(read: Callable[..., Case]) -> None:
    case = read(GRID=PARTS["GRID"].replace("8*2000", "2000 2001 2002 2003 2000 2001 2002 2003"))
    assert case.rock.grid.depth.tolist() == [2002.5, 2002.5, 2003.5, 2003.5, 2004.5, 2004.5, 2005.5, 2005.5]
    # Of 5 m, 4 m are shared.
    assert set(factors_of_x(case, read()).round(12)) == {0.8}


def factors_of_x(case: Case, plain: Case) -> np.ndarray:
    """Along x; the half-cells' way to a face is the same."""
    t, wanted = (transmissibility(of.rock)[0][torch.as_tensor(of.rock.grid.face_axis == 0)] for of in (case, plain))
    return np.asarray((t / wanted).numpy())


def test_sizes_of_the_first_layer_are_those_of_all(read: Callable[..., Case]) -> None:
    layers = {
        "RUNSPEC": PARTS["RUNSPEC"].replace("4 2 1", "4 1 2"),
        "SCHEDULE": PARTS["SCHEDULE"].replace("4 2 1*", "4 1 1*"),
        "COMPDAT": PARTS["COMPDAT"].replace("4 2 1 1", "4 1 2 2"),
    }
    case = read(GRID="GRID\nDX\n 10 20 30 40 /\nDY\n 4*10 /\nDZ\n 4*5 /\nTOPS\n 4*2000 /\n", **layers)
    assert [list(of) for of in case.rock.grid.sizes] == [[10.0, 20.0, 30.0, 40.0], [10.0], [5.0, 5.0]]


def test_small_cells_are_switched_off(read: Callable[..., Case]) -> None:
    # 100 m^3 of pores a cell.
    case = read(PORO="PORO\n 3*0.2 0.01 4*0.2 /\nMINPV\n 10 /\n")
    assert case.rock.grid.n_cells == 7


def test_each_region_has_its_equilibrium(read: Callable[..., Case]) -> None:
    case = read(
        after={"RUNSPEC": "EQLDIMS\n 2 /\n", "PROPS": "REGIONS\nEQLNUM\n 4*1 4*2 /\n"},
        SOLUTION="SOLUTION\nEQUIL\n 2002.5 200 2500 0 /\n 2002.5 210 1000 0 /\n",
    )
    pressure, saturation = (getattr(case.initial, name) for name in ("pressure", "saturation"))
    assert pressure[0].tolist() == pytest.approx([200 * BAR, 210 * BAR])
    assert saturation[0].tolist() == pytest.approx([0.2, 0.8])


def test_tables_that_differ_between_regions_are_those_of_the_cells(read: Callable[..., Case]) -> None:
    two = PARTS["PROPS"].replace("0.8 1 0 0\n/", "0.8 1 0 0\n/\n 0.2 0 1 0\n 0.9 1 0 0\n/")
    dims = {"RUNSPEC": "TABDIMS\n 2 /\n"}
    curves = read(PROPS=two, after=dims | {"PROPS": "REGIONS\nSATNUM\n 4*1 4*2 /\n"}).fluid.curves
    # Cells are numbered along y first.
    k, _ = curves.water(torch.full((1, 8), 0.55, dtype=torch.float64))
    assert k[0].tolist() == pytest.approx([0.35 / 0.6, 0.35 / 0.7] * 4)
    # One of them is used by all cells.
    assert read(PROPS=two, after=dims | {"PROPS": "REGIONS\nSATNUM\n 8*2 /\n"}).fluid.curves.saturation == (0.2, 0.9)


def test_a_perforation_flows_by_the_table_of_its_cell(read: Callable[..., Case]) -> None:
    two = PARTS["PROPS"].replace("0.8 1 0 0\n/", "0.8 1 0 0\n/\n 0.2 0 1 0\n 0.9 1 0 0\n/")
    after = {"RUNSPEC": "TABDIMS\n 2 /\n", "PROPS": "REGIONS\nSATNUM\n 4*1 4*2 /\n"}

    def perforated(table: str) -> Case:
        compdat = PARTS["COMPDAT"].replace("PROD 4 2 1 1 OPEN 1*", f"PROD 4 2 1 1 OPEN {table}")
        return read(PROPS=two, after=after, COMPDAT=compdat)

    for table in ("1*", "0", "-1", "2"):
        assert perforated(table).wells[1].cells == [(3, 1)]
    with pytest.raises(DeckError, match=r"COMPDAT: item 7: got '1', but cell \(4, 2, 1\) has table 2 \(SATNUM\)"):
        perforated("1")


def test_end_points_stretch_the_curves_of_their_cells(read: Callable[..., Case]) -> None:
    given = {"RUNSPEC": "ENDSCALE\n/\n", "PROPS": "SWL\n 0.3 7* /\nSWCR\n 0.3 7* /\nKRW\n 8*0.5 /\n"}
    k, _ = read(after=given).fluid.curves.water(torch.full((1, 8), 0.55, dtype=torch.float64))
    assert k[0].tolist() == pytest.approx([0.25, *[0.5 * 0.35 / 0.6] * 7])
    with pytest.raises(DeckError, match="SWL: end points of cells need ENDSCALE in RUNSPEC; give it"):
        read(after={"PROPS": given["PROPS"]})
    with pytest.raises(
        DeckError, match=r"SWL: got SWL 0.3, SWCR 0.2, SWU 0.8, SOWCR 0.2 in cell \(1, 1, 1\) and 0 more"
    ):
        read(after=given | {"PROPS": "SWL\n 0.3 7* /\n"})


def test_the_other_family_of_saturation_tables_says_the_same(read: Callable[..., Case]) -> None:
    family = "SWFN\n 0.2 0 0\n 0.5 1* 0\n 0.8 1 0\n/\nSOF2\n 0.2 0\n 0.8 1\n/"
    case = read(PROPS=PARTS["PROPS"].replace("SWOF\n 0.2 0 1 0\n 0.8 1 0 0\n/", family))
    wanted = read().fluid.curves
    at = torch.linspace(0, 1, 11, dtype=torch.float64)
    for name in ("water", "oil", "capillary"):
        torch.testing.assert_close(getattr(case.fluid.curves, name)(at)[0], getattr(wanted, name)(at)[0])


def test_saying_a_thing_again_changes_nothing(read: Callable[..., Case]) -> None:
    again = PARTS["SCHEDULE"].partition("SCHEDULE\n")[2] + PARTS["COMPDAT"]
    assert_same(read(TSTEP="TSTEP\n 10 /\n" + again + "TSTEP\n 4*10 /\n"), read())


def rocks(options: str) -> dict[str, str]:
    """Two records of each liquid, which are the same, and of ROCK, which are not."""
    twice = ("PVTW\n 200 1 4e-5 0.5 0 /\n", "PVCDO\n 200 1 1e-4 2 0 /\n", "DENSITY\n 850 1000 1 /\n")
    text = PARTS["PROPS"].replace("ROCK\n 200 1e-5 /\n", "ROCK\n 200 1e-5 /\n 150 4e-5 /\n")
    for each in twice:
        text = text.replace(each, each + each.partition("\n")[2])
    return {"PROPS": text.replace("PROPS\n", f"PROPS\n{options}", 1)}


@pytest.mark.parametrize(
    ("options", "of_second"),
    [("", [1, 3, 5, 7]), ("ROCKOPTS\n 2* PVTNUM /\n", [1, 3, 5, 7]), ("ROCKOPTS\n 2* ROCKNUM /\n", [0])],
)
def test_rock_gives_way_by_the_regions_of_rockopts(
    read: Callable[..., Case], options: str, of_second: list[int]
) -> None:
    after = {"RUNSPEC": "TABDIMS\n 1 2 /\n", "PROPS": "REGIONS\nPVTNUM\n 4*1 4*2 /\nROCKNUM\n 2 7*1 /\n"}
    case = read(after=after, **rocks(options))
    second = np.isin(np.arange(8), of_second)
    np.testing.assert_allclose(case.rock.compressibility, np.where(second, 4e-5, 1e-5) / BAR)
    np.testing.assert_allclose(case.rock.reference_pressure, np.where(second, 150, 200) * BAR)
    told = [note for note in case.notes if "ROCK goes by PVTNUM; item 3 of ROCKOPTS would say otherwise" in note]
    assert bool(told) == ("ROCKNUM" not in options)
    with pytest.raises(InputError, match="the rock's compressibility differs from cell to cell, of which no deck is"):
        require_writable(case)
    # Pores of one region alone are one number.
    one = read(after=after | {"PROPS": "REGIONS\nPVTNUM\n 8*2 /\nROCKNUM\n 8*2 /\n"}, **rocks(options))
    assert (one.rock.compressibility, one.rock.reference_pressure) == pytest.approx((4e-5 / BAR, 150 * BAR))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("ROCKOPTS\n STRESS /\n", "ROCKOPTS: item 1: got 'STRESS'; rock gives way to pressure, say PRESSURE"),
        ("ROCKOPTS\n 1* STORE /\n", "ROCKOPTS: item 2: got 'STORE'; reference pressures are those of ROCK"),
        ("ROCKOPTS\n 2* EQLNUM /\n", "ROCKOPTS: item 3: got 'EQLNUM'; use PVTNUM, SATNUM or ROCKNUM"),
    ],
)
def test_rockopts_that_ask_for_more_are_refused(read: Callable[..., Case], options: str, says: str) -> None:
    with pytest.raises(DeckError, match=says):
        read(PROPS=PARTS["PROPS"].replace("PROPS\n", f"PROPS\n{options}"))


def test_rockopts_come_before_the_rock_that_they_concern(read: Callable[..., Case]) -> None:
    with pytest.raises(DeckError, match=r"ROCKOPTS: item 3: comes after ROCK in .*:\d+, which it concerns"):
        read(after={"PROPS": "ROCKOPTS\n 2* ROCKNUM /\n"})
    assert_same(read(after={"PROPS": "ROCKOPTS\n 2* PVTNUM /\n"}), read())
    counted = {"RUNSPEC": "TABDIMS\n 1 1 10* 2 /\n", "PROPS": "REGIONS\nROCKNUM\n 8*2 /\n"}
    text = PARTS["PROPS"].replace("ROCK\n", "ROCKOPTS\n 2* ROCKNUM /\nROCK\n 300 2e-5 /\n")
    assert read(after=counted, PROPS=text).rock.reference_pressure == 200 * BAR
