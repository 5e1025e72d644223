"""Pressures that no reservoir has are named, and cases that cannot be solved said to be what they are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rockbank.flow import Control, NewtonError, Options, Rock, State, Well

NEWTON = Options(method="newton", solver="direct")


def notes(result):
    return "; ".join(report.note for report in result.reports[0] if report.note)


@pytest.mark.parametrize("method", ["newton", "sequential"])
def test_a_bottom_hole_pressure_below_zero_is_named_with_its_remedy(reservoir, method):
    model = reservoir(I=Control(kind="bhp", target=1.2e7), P=Control(kind="rate", target=1e-3))
    said = notes(model.run(options=Options(method=method)))
    assert "well 'P': its bottom-hole pressure falls to -" in said
    assert "give its rate a limit (min_bhp)" in said


def test_an_injection_pressure_of_thousands_of_bar_is_named_once(reservoir):
    result = reservoir(I=Control(kind="rate", target=1e-1)).run(options=Options(method="sequential"))
    said = notes(result)
    assert said.count("well 'I': its bottom-hole pressure rises to ") == 1
    assert "give its rate a limit (max_bhp)" in said
    assert "the pressure in cell (0, " in said
    assert notes(reservoir().run(options=NEWTON)) == ""


def test_a_negative_initial_pressure_is_refused_with_its_cell(reservoir):
    model = reservoir()
    p = torch.full(model.grid.shape, 1e7, dtype=torch.float64)
    p[2, 1] = -1e5
    with pytest.raises(ValueError, match=r"initial pressure: got -100000 in cell \(2, 1\); give Pa, 0 or more"):
        model.run(initial=State(pressure=p))


def test_only_what_is_incompressible_is_said_to_be(reservoir):
    held = Control(kind="rate", target=1e-4)
    model = reservoir(compressible=True, I=Control(kind="rate", target=1e-4), P=held)
    fluid = replace(model.fluid, oil=replace(model.fluid.oil, compressibility=9e-7, reference_pressure=1e12))
    model = replace(model, fluid=fluid)
    with pytest.raises(NewtonError, match="ceased to be finite") as error:
        model.run(options=NEWTON)
    assert "compressible, so that" not in str(error.value)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_member_that_fails_is_named_also_where_each_is_solved_by_itself(reservoir, workers):
    rates = torch.tensor([[2e-4], [5e-1], [2e-4]], dtype=torch.float64).expand(3, 3)
    model = reservoir(members=3, I=Control(kind="rate", target=rates))
    options = Options(method="newton", solver="direct", cnv=1e-9, mb=1e-11, max_iterations=7, max_cuts=0)
    with pytest.raises(NewtonError, match=r"^member 1: report step 1 "):
        model.run(options=options, workers=workers)


def test_arrays_of_numpy_are_told_what_is_wanted(reservoir):
    model = reservoir()
    k, grid = model.permeability, model.grid
    for name, given in (("permeability", k.numpy()), ("permeability x", [k.numpy()] * 3)):
        with pytest.raises(ValueError, match=rf"{name}: got ndarray; give a torch tensor.*torch.from_numpy"):
            Rock(grid=grid, permeability=given, porosity=model.porosity)
    with pytest.raises(ValueError, match="well 'P', index: got ndarray; give a torch tensor"):
        Well(name="P", kind="producer", cells=[(0, 0)], index=np.ones(1))
    with pytest.raises(ValueError, match="control 'bhp', target: got ndarray; give a number or a torch tensor"):
        Control(kind="bhp", target=np.ones(2))
