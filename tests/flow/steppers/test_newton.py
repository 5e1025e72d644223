"""Newton's method: what it calls converged, how it cuts steps, and what holds the wells."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rockbank.flow import Control, NewtonError, Options
from rockbank.flow.equations.linearised import Step, Unknowns
from rockbank.flow.equations.problem import BHP, RATE, SHUT, State, discretise
from rockbank.flow.equations.residual import Equations
from rockbank.flow.equations.wells import Schedule
from rockbank.flow.steppers import newton

VARIANTS = {
    "plain": {},
    "table": {"curves": "table"},
    "compressible": {"compressible": True},
    "gravity": {"gravity": True, "shape": (3, 2, 4)},
    "capillary": {"curves": "capillary"},
    "all": {"compressible": True, "gravity": True, "curves": "capillary", "shape": (3, 2, 4)},
}
NEWTON = {"method": "newton", "solver": "direct"}


def numbered(model):
    schedule = Schedule(steps=model.steps, controls=model.controls)
    return discretise(model.rock(), model.fluid, model.wells(), schedule, State(pressure=1.2e7, saturation=0.2))


def left_of_residuals(problem, parameters, trajectory):
    """Volume errors of cells, and of all together, by pore volume, after each step taken; and of wells, m^3/s."""
    m = len(trajectory.steps)
    bhp_before = torch.cat([trajectory.bhp[:1], trajectory.bhp[:-1]])
    now, before = (
        Unknowns(pressure=trajectory.pressure[of], saturation=trajectory.saturation[of], bhp=bhp)
        for of, bhp in ((slice(1, None), trajectory.bhp), (slice(None, -1), bhp_before))
    )
    targets = parameters.targets[0, trajectory.report]
    lengths, kinds = torch.as_tensor(trajectory.steps), torch.as_tensor(trajectory.kinds)
    step = Step(length=lengths, kinds=kinds, targets=targets, head=trajectory.head)
    here = Equations(problem, parameters.take([0] * m)).linearise(now, before, step)
    errors = here.cells.abs() * step.length[:, None, None] / parameters.pore_volume[..., None]
    together = here.cells.sum(dim=1).abs() * step.length[:, None] / parameters.pore_volume.sum()
    return errors.amax().item(), together.amax().item(), here.wells.abs().amax().item()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("cnv", "mb"), [(1e-3, 1e-7), (1e-9, 1e-11)])
def test_every_step_leaves_less_of_the_residual_than_was_asked(reservoir, variant, cnv, mb):
    problem, parameters = numbered(reservoir(**VARIANTS[variant]))
    (trajectory,) = newton.run(problem, parameters, Options(cnv=cnv, mb=mb, **NEWTON))
    of_cells, together, of_wells = left_of_residuals(problem, parameters, trajectory)
    assert of_cells <= cnv
    assert together <= mb
    assert of_wells <= 0.01 * 2e-4 * cnv / 1e-3  # 1 % of the injector's target at the default, and in proportion
    assert max(report.residual for report in trajectory.reports) == pytest.approx(of_cells, rel=1e-6)


def test_a_step_that_fails_is_halved_and_the_next_report_step_is_whole_again(reservoir):
    model = reservoir(steps=(8e5, 8e5, 8e5))
    # Five iterations are too few for the whole first step and for its halves.
    options = Options(cnv=1e-9, mb=1e-11, max_iterations=4, **NEWTON)
    (trajectory,) = newton.run(*numbered(model), options)
    n_steps = [report.n_steps for report in trajectory.reports]
    assert n_steps[0] > 1
    assert n_steps[-1] == 1
    assert trajectory.report.tolist() == np.repeat(np.arange(3), n_steps).tolist()
    for report, length in enumerate(model.steps):
        of_report = trajectory.steps[trajectory.report == report]
        assert of_report.sum() == length
        assert set(length / of_report) <= {1.0, 2.0, 4.0, 8.0}
        assert (of_report[1:] <= 2 * of_report[:-1]).all()
    assert trajectory.reports[0].iterations > 4 * n_steps[0] / 2  # those of failed tries count


def test_steps_grow_again_where_few_iterations_do(reservoir):
    (trajectory,) = reservoir(steps=(2e7,)).run(options=Options(max_iterations=6, **NEWTON)).trajectories
    assert (trajectory.steps / 2e7 * 16).tolist() == [2, 2, 2, 2, 4, 4]
    assert "cut into 6 steps" in trajectory.reports[0].note


def test_the_objective_is_smooth_where_the_steps_are_kept(reservoir):
    model = reservoir(gravity=True, shape=(4, 3, 2))
    free = Options(cnv=1e-9, mb=1e-11, max_iterations=3, **NEWTON)
    log = model.permeability.log().requires_grad_()
    first = model.run(options=free)
    kept = Schedule(steps=model.steps, controls=model.controls).as_taken(first.trajectories[0])
    assert len(kept.steps) > len(model.steps)
    moved = model.run(rock=model.rock((log.detach() + 2.0).exp()), options=free)
    assert len(moved.trajectories[0].steps) != len(kept.steps)  # the cuts change with the parameters
    options = replace(free, max_iterations=25, max_cuts=0, cnv=1e-11, mb=1e-13)

    def loss(of):
        result = reservoir(gravity=True, shape=(4, 3, 2), steps=kept.steps, **kept.controls).run(
            rock=model.rock(of.exp()), options=options
        )
        return (result.bhp[first.trajectories[0].ends] / 1e7).square().sum()

    value = loss(log)
    (gradient,) = torch.autograd.grad(value, log)
    left = [(loss(log.detach() + h) - value - h * gradient.sum()).abs().item() for h in (0.4, 0.2, 0.1)]
    assert min(np.log2(np.divide(left[:-1], left[1:]))) > 1.8
    torch.testing.assert_close(value.detach(), (first.bhp / 1e7).square().sum(), rtol=1e-8, atol=0)


def test_targets_for_each_report_step_stay_with_it(reservoir):
    target = torch.tensor([1e-4, 2e-4, 3e-4], dtype=torch.float64)
    schedule = Schedule(steps=(2e5, 4e5, 8e5), controls={"I": Control(kind="rate", target=target)})
    model = reservoir(I=Control(kind="rate", target=target))
    (trajectory,) = model.run(options=Options(cnv=1e-9, mb=1e-11, max_iterations=4, **NEWTON)).trajectories
    kept = schedule.as_taken(trajectory)
    assert torch.equal(kept.of("I")[0].target, target[trajectory.report])


def test_cut_steps_are_the_steps_of_a_finer_schedule(reservoir, tight):
    model = reservoir()
    cut = model.run(options=Options(cnv=1e-9, mb=1e-11, max_iterations=4, **NEWTON))
    finer = reservoir(steps=cut.trajectories[0].steps)
    ends = cut.trajectories[0].ends
    assert len(ends) < len(cut.trajectories[0].steps)
    torch.testing.assert_close(cut.bhp, finer.run(options=tight).bhp[ends], rtol=1e-8, atol=0)  # the tolerance of cut


def test_a_step_that_cannot_converge_names_step_time_cell_and_remedy(reservoir):
    with pytest.raises(NewtonError) as error:
        reservoir().run(options=Options(max_iterations=1, max_cuts=2, **NEWTON))
    for said in ("report step 1 ", "day 0 to 2.31481", "cut into 4 steps", "in cell (", "max_iterations"):
        assert said in str(error.value)


def test_the_member_that_cannot_converge_is_named(reservoir):
    # Hundreds of pore volumes in a step instead of a part of one.
    rates = torch.tensor([[2e-4], [5e-1], [2e-4]], dtype=torch.float64).expand(3, 3)
    model = reservoir(members=3, I=Control(kind="rate", target=rates))
    with pytest.raises(NewtonError, match="of member 1"):
        newton.run(*numbered(model), Options(cnv=1e-9, mb=1e-11, max_iterations=7, max_cuts=0, **NEWTON))


def test_a_limit_that_leaves_no_pressure_is_told_as_such(reservoir):
    # The producer may take less than is injected, and nothing gives way.
    model = reservoir(P=Control(kind="bhp", target=1e7, limit=1e-4))
    with pytest.raises(NewtonError, match="a limit leaves no well under 'bhp'"):
        model.run(options=Options(**NEWTON))


def test_members_at_once_are_the_members_one_by_one(reservoir):
    # In four iterations some members need cuts where others need none.
    options = Options(cnv=1e-9, mb=1e-11, max_iterations=4, **NEWTON)
    problem, parameters = numbered(reservoir(members=4))
    together = newton.run(problem, parameters, options)
    assert len({len(of.steps) for of in together}) > 1
    for i, trajectory in enumerate(together):
        (alone,) = newton.run(problem, parameters.member(i), options)
        assert trajectory.steps.tolist() == alone.steps.tolist()
        assert trajectory.reports == alone.reports
        torch.testing.assert_close(trajectory.pressure, alone.pressure, rtol=1e-12, atol=0)
        torch.testing.assert_close(trajectory.saturation, alone.saturation, rtol=0, atol=1e-12)


def test_a_run_can_be_taken_up_where_it_was_left(reservoir, tight):
    problem, parameters = numbered(reservoir(I=Control(kind="rate", target=3e-4, limit=1.6e7)))
    (whole,) = newton.run(problem, parameters, tight)
    (first,) = newton.run(problem, parameters, tight, reports=range(1))
    end = Unknowns(pressure=first.pressure[-1:], saturation=first.saturation[-1:], bhp=first.bhp[-1:])
    (rest,) = newton.run(problem, parameters, tight, start=end, held=first.held_by_limit[-1:], reports=range(1, 3))
    assert rest.report.tolist() == [1, 2]
    assert torch.equal(torch.cat([first.pressure, rest.pressure[1:]]), whole.pressure)
    assert rest.reports == whole.reports[1:]


# --- what holds the wells ---------------------------------------------------------------------------------------


def test_an_injector_stays_below_its_limit_until_its_rate_can_be_met(reservoir, tight):
    model = reservoir(I=Control(kind="rate", target=3e-4, limit=1.6e7))
    result = model.run(options=tight)
    # Water displaces oil that is four times as viscous: the rate that the limit lets in grows.
    assert result.bhp[0, 0] == 1.6e7
    assert result.water_rate[0, 0] < 3e-4
    assert (result.bhp[1:, 0] < 1.6e7).all()
    torch.testing.assert_close(result.water_rate[1:, 0], torch.full((2,), 3e-4, dtype=torch.float64), rtol=1e-9, atol=0)
    (reports,) = result.reports
    assert "'I' is held by its limit" in reports[0].note
    assert reports[1].note == ""


def test_a_producer_stays_above_its_limit(reservoir, tight):
    model = reservoir(
        compressible=True, I=Control(kind="bhp", target=1.3e7), P=Control(kind="rate", target=5e-4, limit=9e6)
    )
    result = model.run(options=tight)
    assert (result.bhp[:, 1] == 9e6).all()
    assert (-(result.water_rate + result.oil_rate)[:, 1] < 5e-4).all()


@pytest.mark.parametrize("target", [2e-4, 4e-4])
def test_a_rate_with_a_pressure_limit_is_a_pressure_with_a_rate_limit(reservoir, tight, target):
    """Both keep to both bounds, and one of them is met."""
    by_rate = reservoir(I=Control(kind="rate", target=target, limit=1.5e7)).run(options=tight)
    by_pressure = reservoir(I=Control(kind="bhp", target=1.5e7, limit=target)).run(options=tight)
    torch.testing.assert_close(by_rate.bhp, by_pressure.bhp, rtol=1e-9, atol=0)
    torch.testing.assert_close(by_rate.oil_rate, by_pressure.oil_rate, rtol=1e-8, atol=0)


def test_a_limit_that_is_never_met_changes_nothing(reservoir, tight):
    with_limit = reservoir(I=Control(kind="rate", target=2e-4, limit=5e7)).run(options=tight)
    assert torch.equal(with_limit.bhp, reservoir().run(options=tight).bhp)


@pytest.mark.parametrize("kind", ["oil", "water", "rate"])
def test_a_producer_makes_the_rate_that_it_is_told(reservoir, tight, kind):
    target = {"oil": 5e-5, "water": 1e-5, "rate": 1e-4}[kind]
    model = reservoir(I=Control(kind="bhp", target=1.6e7), P=Control(kind=kind, target=target))
    result = model.run(options=tight)
    rate = {"oil": result.oil_rate, "water": result.water_rate, "rate": result.oil_rate + result.water_rate}[kind]
    torch.testing.assert_close(rate[:, 1], torch.full((3,), -target, dtype=torch.float64), rtol=1e-9, atol=0)


def test_a_shut_well_keeps_its_pressure_and_flows_nothing(reservoir, tight):
    controls = [Control(kind="rate", target=2e-4), Control(kind="shut"), Control(kind="rate", target=2e-4)]
    result = reservoir(compressible=True, I=controls).run(options=tight)
    assert result.water_rate[1, 0] == 0
    assert result.bhp[1, 0] == result.bhp[0, 0]
    assert result.water_rate[2, 0].item() == pytest.approx(2e-4, rel=1e-9)


def test_no_rate_is_shut(reservoir, tight):
    controls = [Control(kind="rate", target=2e-4), Control(kind="rate", target=0.0), Control(kind="rate", target=2e-4)]
    shut = [controls[0], Control(kind="shut"), controls[2]]
    by_rate, by_kind = (reservoir(compressible=True, I=of).run(options=tight) for of in (controls, shut))
    assert torch.equal(by_rate.bhp, by_kind.bhp)
    assert by_rate.trajectories[0].kinds[:, 0].tolist() == [RATE, SHUT, RATE]


NOTHING = Control(kind="bhp", target=1.6e7, limit=0.0)


@pytest.mark.parametrize("method", ["newton", "sequential"])
@pytest.mark.parametrize(
    "controls",
    [
        [NOTHING] * 3,
        # Held by their limits in the first step.
        [Control(kind="rate", target=target, limit=1.5e7) for target in (8e-4, 0.0, 8e-4)],
        [Control(kind="bhp", target=1.8e7, limit=limit) for limit in (1e-4, 0.0, 1e-4)],
    ],
)
def test_a_well_that_may_flow_nothing_is_shut_whatever_holds_it(reservoir, tight, controls, method):
    for rest in ({"compressible": True}, {"compressible": True, "gravity": True}):
        options = replace(tight, method=method, tolerance=1e-12)
        nothing = [0.0 in (of.target, of.limit) for of in controls]
        shut = [Control(kind="shut") if no else of for of, no in zip(controls, nothing, strict=True)]
        ours, wanted = (reservoir(I=of, **rest).run(options=options) for of in (controls, shut))
        (trajectory,) = ours.trajectories
        assert ((trajectory.kinds[:, 0] == SHUT) == nothing).all()
        assert trajectory.held_by_limit[:, 0].tolist() == wanted.trajectories[0].held_by_limit[:, 0].tolist()
        assert [report.note for report in ours.reports[0]] == [report.note for report in wanted.reports[0]]
        torch.testing.assert_close(ours.bhp, wanted.bhp, rtol=1e-8, atol=0)
        torch.testing.assert_close(ours.oil_rate, wanted.oil_rate, rtol=1e-7, atol=1e-14)


def test_a_new_kind_of_control_starts_without_the_old_ones_limit(reservoir, tight):
    controls = [Control(kind="rate", target=8e-4, limit=1.6e7), Control(kind="bhp", target=1.4e7)]
    result = reservoir(steps=(2e5, 4e5), I=controls).run(options=tight)
    (trajectory,) = result.trajectories
    assert trajectory.held_by_limit[:, 0].tolist() == [True, False]
    assert trajectory.kinds[:, 0].tolist() == [BHP, BHP]
    assert result.bhp[:, 0].tolist() == [1.6e7, 1.4e7]


@pytest.mark.parametrize("level", [1.2e7, 1.1e7, 1.3e7])
@pytest.mark.parametrize("holds", ["I", "P"])
def test_a_pressure_at_which_no_well_flows_at_first_moves_the_cells_own(reservoir, tight, holds, level):
    """Nothing is compressible, so that the pressures before the first step, 1.2e7 Pa in the cells, mean nothing."""
    other = "P" if holds == "I" else "I"
    model = reservoir(**{holds: Control(kind="bhp", target=level), other: Control(kind="rate", target=1e-4)})
    flowing = State(pressure=level + (-1e6 if holds == "I" else 1e6), saturation=model.saturation)
    result, same = model.run(options=tight), model.run(options=tight, initial=flowing)
    torch.testing.assert_close(result.bhp, same.bhp, rtol=1e-9, atol=0)
    assert all(report.iterations < 10 for report in result.reports[0])


def test_a_step_that_fails_from_the_last_change_begins_at_the_last_state(reservoir, tight, monkeypatch):
    model = reservoir(**VARIANTS["gravity"])

    def run(begin):
        monkeypatch.setattr(newton, "_extrapolated", lambda _, now, __: begin(now))
        return model.run(options=tight)

    wrong = run(lambda now: replace(now, pressure=now.pressure * torch.nan))
    right = run(lambda now: now)
    assert torch.equal(wrong.bhp, right.bhp)
    assert [report.n_steps for report in wrong.reports[0]] == [1, 1, 1]
