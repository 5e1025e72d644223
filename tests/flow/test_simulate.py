"""The simulator as one function: shapes, signs, members, what it refuses, and by which way it goes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rockbank.flow import Control, Grid, Options, Rock, State, Well, simulate
from rockbank.flow.equations.wells import Schedule

NEWTON = Options(method="newton", solver="direct")
OBSERVABLES = ("bhp", "water_rate", "oil_rate")


def test_rates_are_positive_into_the_reservoir(reservoir):
    result = reservoir().run(options=NEWTON)
    assert (result.water_rate[:, 0] > 0).all()
    assert (result.oil_rate[:, 0] == 0).all()
    assert (result.water_rate[:, 1] < 0).all()
    assert (result.oil_rate[:, 1] < 0).all()


def test_what_flows_in_flows_out_where_nothing_is_compressible(reservoir, tight):
    result = reservoir().run(options=tight)
    sum_of_all = (result.water_rate + result.oil_rate).sum(dim=-1)
    torch.testing.assert_close(sum_of_all, torch.zeros_like(sum_of_all), rtol=0, atol=2e-4 * 1e-9)  # tight's wells


def test_time_is_that_of_the_ends_of_the_report_steps(reservoir):
    assert reservoir(steps=(2e5, 4e5, 8e5)).run(options=NEWTON).time.tolist() == [2e5, 6e5, 14e5]


def test_one_model_has_no_axis_of_members(reservoir):
    result = reservoir().run(options=NEWTON)
    assert all(getattr(result, name).shape == (3, 2) for name in OBSERVABLES)
    assert len(result.trajectories) == len(result.reports) == 1


@pytest.mark.parametrize("given", ["rock", "index", "target", "initial"])
def test_an_axis_of_members_may_come_from_anything(reservoir, given):
    n = 1 if given == "index" else 2  # an axis of one counts too
    model = reservoir(members=2 if given == "rock" else 0)
    index = {"I": torch.full((1, 2), 1e-12, dtype=torch.float64)} if given == "index" else {}
    target = torch.full((2, 3), 2e-4, dtype=torch.float64) if given == "target" else 2e-4
    controls = model.controls | {"I": Control(kind="rate", target=target)}
    schedule = Schedule(steps=model.steps, controls=controls)
    pressure = torch.full((2, 4, 3), 1.2e7, dtype=torch.float64) if given == "initial" else 1.2e7
    result = simulate(
        model.rock(), model.fluid, model.wells(index), schedule, initial=State(pressure=pressure), options=NEWTON
    )
    assert all(getattr(result, name).shape == (n, 3, 2) for name in OBSERVABLES)
    assert len(result.trajectories) == n


@pytest.mark.parametrize("name", ["net_to_gross", "pore_multiplier", "face_multiplier", "added_transmissibility"])
def test_an_axis_of_members_may_come_from_any_field_of_cells_or_faces(reservoir, name):
    model = reservoir()
    own = model.rock()
    n = len(own.grid.faces) if name in ("face_multiplier", "added_transmissibility") else own.grid.n_cells
    size = 1e-13 if name == "added_transmissibility" else 0.5
    values = size * torch.tensor([[0.5], [1.0], [1.5]], dtype=torch.float64) * torch.ones(n, dtype=torch.float64)
    together = model.run(rock=replace(own, **{name: values}), options=NEWTON)
    for i in range(3):
        alone = model.run(rock=replace(own, **{name: values[i]}), options=NEWTON)
        for of in OBSERVABLES:
            # Both meet Newton's tolerance.
            torch.testing.assert_close(getattr(together, of)[i], getattr(alone, of), rtol=1e-6, atol=1e-12)
    assert together.bhp.shape == (3, 3, 2)
    with pytest.raises(ValueError, match=r"have .* members; give the same number"):
        replace(own, porosity=own.porosity.expand(2, *own.porosity.shape), **{name: values})


@pytest.mark.parametrize("options", [NEWTON, Options(method="newton", solver="block"), Options()])
@pytest.mark.parametrize("workers", [1, 2])
def test_members_together_are_the_members_one_by_one(reservoir, options, workers):
    model = reservoir(members=3)
    together = model.run(options=options, workers=workers)
    for i in range(3):
        alone = model.run(rock=model.rock(model.permeability[i], model.porosity[i]), options=options)
        for name in OBSERVABLES:
            expected = getattr(alone, name)
            # Round-off of the linear solves in another order, at most.
            torch.testing.assert_close(
                getattr(together, name)[i], expected, rtol=1e-9, atol=1e-9 * expected.abs().max()
            )


@pytest.mark.parametrize("method", ["sequential", "newton"])
def test_every_report_step_says_how_it_converged(reservoir, method):
    (reports,) = reservoir().run(options=Options(method=method)).reports
    assert [report.method for report in reports] == [method] * 3
    assert all(report.iterations >= 1 and report.n_steps == 1 and report.note == "" for report in reports)
    assert all(0 <= report.residual <= 1e-3 for report in reports)


@pytest.mark.parametrize(
    "variant", [{"gravity": True, "shape": (3, 2, 2), "liquid": "changing"}, {"liquid": "regions"}]
)
def test_where_the_sequential_method_does_not_apply_newton_does_it_and_says_why(reservoir, variant):
    model = reservoir(**variant)
    (reports,) = model.run(options=Options()).reports
    assert all(report.method == "newton" and "newton: " in report.note for report in reports)
    with pytest.raises(ValueError, match="method 'sequential' does not apply"):
        model.run(options=Options(method="sequential"))


def test_newton_takes_wide_layers_with_gravity_unless_told_otherwise(reservoir):
    model = reservoir(gravity=True, shape=(13, 13, 13), steps=(1e5,))
    (report,), (told,) = (model.run(options=Options(method=method)).reports[0] for method in ("auto", "sequential"))
    assert report.method == "newton"
    assert "layers of more than" in report.note
    assert told.method == "sequential"


@pytest.mark.parametrize("solver", ["direct", "block", "slabs"])
def test_every_linear_solver_gives_the_same_run(reservoir, tight, solver):
    model = reservoir()
    expected = model.run(options=tight)
    result = model.run(options=Options(method="newton", solver=solver, cnv=tight.cnv, mb=tight.mb))
    for name in OBSERVABLES:
        torch.testing.assert_close(getattr(result, name), getattr(expected, name), rtol=1e-9, atol=1e-13)


def test_no_pressure_anywhere_is_refused(reservoir):
    controls = [Control(kind="bhp", target=1e7), Control(kind="rate", target=2e-4), Control(kind="bhp", target=1e7)]
    with pytest.raises(
        ValueError, match=r"in report step 2 no well under 'bhp' reaches cell \(0, 0\).*compressibility"
    ):
        reservoir(P=controls).run()


def test_a_part_of_the_grid_that_no_pressure_reaches_is_refused(reservoir):
    active = torch.ones(5, 3, dtype=torch.bool)
    active[3] = False
    grid = Grid(shape=(5, 3), spacing=(10.0, 10.0, 5.0), active=active.numpy())
    field = torch.ones(5, 3, dtype=torch.float64)
    model = reservoir()
    wells = [
        Well(name="I", kind="injector", cells=[(0, 0)]),
        Well(name="P", kind="producer", cells=[(2, 2)]),
    ]

    def run(compressibility):
        rock = Rock(grid=grid, permeability=1e-13 * field, porosity=0.2 * field, compressibility=compressibility)
        schedule = Schedule(steps=model.steps, controls=model.controls)
        return simulate(rock, model.fluid, wells, schedule, initial=State(pressure=1.2e7), options=NEWTON)

    with pytest.raises(ValueError, match=r"reaches cell \(4, 0\)"):
        run(0.0)
    with pytest.raises(ValueError, match=r"reaches cell \(4, 0\)"):
        run(np.where(np.arange(12) < 9, 1e-9, 0.0))
    # With a compressible rock, of one cell at least, it keeps its pressure.
    for compressibility in (1e-9, np.where(np.arange(12) < 11, 0.0, 1e-9)):
        assert run(compressibility).trajectories[0].pressure[-1, -1].item() == pytest.approx(1.2e7, rel=1e-12)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "impes"}, "got method 'impes'; known are"),
        ({"solver": "gmres"}, "got solver 'gmres'; known are"),
        ({"cnv": 0.0}, "got cnv 0.0; it must be positive"),
        ({"tolerance": math.nan}, "got tolerance nan; it must be positive"),
        ({"max_ds": -1.0}, "got max_ds -1.0; it must be positive"),
        ({"max_iterations": 0}, "got 0 iterations and 6 cuts at most"),
        ({"max_cuts": -1}, "got 25 iterations and -1 cuts at most"),
    ],
)
def test_wrong_options_are_refused_with_what_they_are(wrong, message):
    with pytest.raises(ValueError, match=message):
        Options(**wrong)


def test_without_gradients_nothing_is_recorded(reservoir):
    result = reservoir().run(options=NEWTON)
    assert not any(getattr(result, name).requires_grad for name in OBSERVABLES)


def test_single_precision_rock_gives_a_double_precision_run_and_single_precision_gradients(reservoir, tight):
    model = reservoir()
    k = model.permeability.float().requires_grad_()
    result = model.run(rock=model.rock(k, model.porosity.float()), options=tight)
    assert result.bhp.dtype == torch.float64
    (slope,) = torch.autograd.grad(result.bhp.sum(), k)
    assert slope.dtype == torch.float32
    assert slope.isfinite().all()
