"""Report steps cut into shorter ones beforehand: the run of the shorter schedule, seen at the report steps."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from rockbank.flow import Control, Options
from rockbank.flow.steppers.step_sizes import step_sizes

OBSERVABLES = ("bhp", "water_rate", "oil_rate")


@pytest.mark.parametrize(
    ("steps", "options", "lengths", "reports"),
    [
        ((10.0, 20.0), {}, [10, 20], [0, 1]),
        ((10.0, 20.0), {"largest_step": 10.0}, [10, 10, 10], [0, 1, 1]),
        # Nothing is left that is shorter than half a step.
        ((12.0,), {"largest_step": 10.0}, [6, 6], [0, 0]),
        ((100.0,), {"first_step": 1.0}, [1, 3, 9, 27, 60], [0] * 5),
        # What a report step cuts short does not hold the next one back.
        ((4.5, 27.0), {"first_step": 3.0, "growth": 3.0}, [3, 1.5, 9, 18], [0, 0, 1, 1]),
        ((3.0,), {"first_step": 1.0, "growth": 1.0}, [1, 1, 1], [0, 0, 0]),
    ],
)
def test_steps_grow_from_the_first_to_the_largest(steps, options, lengths, reports):
    got, of = step_sizes(np.array(steps), Options(**options))
    np.testing.assert_allclose(got, lengths, rtol=1e-12)
    assert of.tolist() == reports


@pytest.mark.parametrize("method", ["newton", "sequential"])
def test_the_run_is_that_of_the_shorter_schedule(reservoir, method):
    options = {"method": method, "cnv": 1e-11, "mb": 1e-13, "tolerance": 1e-11}
    rates = torch.tensor([1e-4, 2e-4, 3e-4], dtype=torch.float64)
    coarse = reservoir(steps=(2e5, 4e5, 8e5), I=Control(kind="rate", target=rates))
    fine = reservoir(steps=(2e5, *[2e5] * 6), I=Control(kind="rate", target=rates[[0, 1, 1, 2, 2, 2, 2]]))
    told = []
    cut = coarse.run(options=Options(largest_step=2e5, **options), progress=told.append)
    whole = fine.run(options=Options(**options))
    for name in OBSERVABLES:
        torch.testing.assert_close(getattr(cut, name), getattr(whole, name)[[0, 2, 6]], rtol=1e-9, atol=1e-15)
    assert cut.time.tolist() == [2e5, 6e5, 14e5]
    assert sum(told) == 3
    (trajectory,), (reports,) = cut.trajectories, cut.reports
    assert trajectory.report.tolist() == [0, 1, 1, 2, 2, 2, 2]
    assert [(of.n_steps, of.n_planned) for of in reports] == [(1, 1), (2, 2), (4, 4)]


def test_gradients_are_of_the_steps_taken(reservoir, tight):
    options = Options(method="newton", solver="direct", cnv=tight.cnv, mb=tight.mb, first_step=5e4, largest_step=3e5)
    at, direction = torch.tensor(2e-4, dtype=torch.float64), 2e-5

    def misfit(target):
        result = reservoir(compressible=True, I=Control(kind="rate", target=target)).run(options=options)
        return (result.bhp / 1e7).square().sum() + (result.oil_rate / 1e-4).square().sum()

    target = at.clone().requires_grad_()
    value = misfit(target)
    (slope,) = torch.autograd.grad(value, target)
    remainders = [abs(misfit(at + h * direction) - value - h * slope * direction).item() for h in (1.0, 0.5, 0.25)]
    assert min(math.log2(coarse / fine) for coarse, fine in pairwise(remainders)) > 1.9


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"first_step": 0.0}, "got first_step 0.0 s; it must be positive, or None for no bound"),
        ({"largest_step": math.nan}, "got largest_step nan s"),
        ({"growth": 0.5}, "got growth 0.5 of steps; give 1, which is none, or more"),
    ],
)
def test_lengths_that_cannot_be_are_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        Options(**wrong)


def test_too_many_steps_are_refused():
    with pytest.raises(ValueError, match="make more than 1000000 steps; give longer ones"):
        step_sizes(np.array([1e9]), Options(largest_step=1.0))
