"""The numbered problem holds what was said, and what contradicts itself is refused."""

import math

import numpy as np
import pytest
import torch

from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey
from rockbank.flow.equations.fluid import Fluid, Phase
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.problem import BHP, RATE, SHUT, State, discretise
from rockbank.flow.equations.rock import Rock, pore_volume, transmissibility
from rockbank.flow.equations.wells import Control, Schedule, Well, peaceman_index

GRID = Grid(shape=(3, 2, 2), spacing=(4.0, 4.0, (2.0, 6.0)), top=1000.0)
FLUID = Fluid(
    water=Phase(viscosity=3e-4, density=1000.0),
    oil=Phase(viscosity=5e-3, density=700.0),
    curves=BrooksCorey(water_curve=Corey(residual=0.15, span=0.75), oil_curve=Corey(residual=0.12, span=0.78)),
    gravity=10.0,
)
INJECTOR = Well(name="I", kind="injector", cells=[(0, 0, 0), (0, 0, 1)])
PRODUCER = Well(name="P", kind="producer", cells=[(2, 1, 0), (2, 1, 1)])
CONTROLS = {"I": Control(kind="rate", target=1e-4), "P": Control(kind="bhp", target=1.5e7)}
STEPS = (100.0, 200.0, 300.0)


def rock(members=None):
    shape = GRID.shape if members is None else (members, *GRID.shape)
    k = 1e-13 * (1 + torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    return Rock(grid=GRID, permeability=k, porosity=torch.full(GRID.shape, 0.2, dtype=torch.float64))


def numbered(rock_=None, wells=(INJECTOR, PRODUCER), controls=CONTROLS, initial=None, steps=STEPS):
    rock_, initial = rock_ or rock(), initial or State(pressure=2e7)
    return discretise(rock_, FLUID, wells, Schedule(steps=steps, controls=controls), initial)


def test_the_parameters_are_those_of_rock_wells_and_schedule():
    problem, given = numbered()
    torch.testing.assert_close(given.transmissibility, transmissibility(rock()), rtol=0, atol=0)
    torch.testing.assert_close(given.pore_volume, pore_volume(rock()), rtol=0, atol=0)
    both = torch.cat([peaceman_index(rock(), well) for well in (INJECTOR, PRODUCER)], dim=1)
    torch.testing.assert_close(given.well_index, both, rtol=0, atol=0)
    assert given.targets.tolist() == [[[1e-4, 1.5e7]] * 3]
    np.testing.assert_array_equal(problem.kinds, [[RATE, BHP]] * 3)
    np.testing.assert_array_equal(problem.steps, STEPS)


def test_perforations_know_their_cell_and_well():
    problem, _ = numbered()
    np.testing.assert_array_equal(problem.perforation_well, [0, 0, 1, 1])
    np.testing.assert_array_equal(problem.perforation_cell, [GRID.cell(c) for c in (*INJECTOR.cells, *PRODUCER.cells)])
    np.testing.assert_array_equal(problem.is_injector, [True, False])


def test_without_a_limit_none_is_ever_broken():
    problem, given = numbered(
        controls={"I": Control(kind="rate", target=1.0), "P": [Control(kind="rate", target=1.0), *[CONTROLS["P"]] * 2]}
    )
    assert not problem.has_limit.any()
    np.testing.assert_array_equal(given.limits[0], [[math.inf, -math.inf], [math.inf, math.inf], [math.inf, math.inf]])
    problem, given = numbered(controls=CONTROLS | {"I": Control(kind="rate", target=1.0, limit=3e7)})
    np.testing.assert_array_equal(problem.has_limit, [[True, False]] * 3)
    np.testing.assert_array_equal(given.limits[0, :, 0], [3e7] * 3)


def test_a_member_is_a_batch_of_one():
    s = torch.linspace(0, 1, 36, dtype=torch.float64).reshape(3, *GRID.shape)
    _, given = numbered(rock(members=3), initial=State(pressure=2e7, saturation=s))
    assert given.pressure.shape == given.saturation.shape == given.pore_volume.shape == (3, 12)
    for name in vars(given):
        assert getattr(given.member(2), name).equal(getattr(given, name)[2:3])


def test_the_initial_water_is_connate_unless_given():
    assert (numbered()[1].saturation == 0.15).all()
    assert (numbered(initial=State(pressure=2e7, saturation=0.4))[1].saturation == 0.4).all()


def test_targets_may_come_one_by_one_by_step_and_by_member():
    by_step = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    by_member = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    for target, expected in (
        (torch.tensor(5.0), [[5.0] * 3]),
        (by_step, [[1.0, 2.0, 3.0]]),
        (by_member, [[1.0] * 3, [2.0] * 3]),
        (by_member * by_step, [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]),
    ):
        _, given = numbered(controls=CONTROLS | {"I": Control(kind="rate", target=target)})
        assert given.targets[..., 0].tolist() == expected


def test_controls_of_each_step_take_their_own_targets():
    by_step = Control(kind="rate", target=torch.tensor([1.0, 2.0, 3.0]))
    of_members = Control(kind="bhp", target=torch.tensor([[7.0], [8.0]]))
    problem, given = numbered(controls=CONTROLS | {"I": [by_step, of_members, by_step]})
    assert given.targets[..., 0].tolist() == [[1.0, 7.0, 3.0], [1.0, 8.0, 3.0]]
    np.testing.assert_array_equal(problem.kinds[:, 0], [RATE, BHP, RATE])
    shut, _ = numbered(controls=CONTROLS | {"I": [Control(kind="shut")] * 3})
    np.testing.assert_array_equal(shut.kinds[:, 0], [SHUT] * 3)


def test_targets_and_given_indices_are_differentiable():
    target = torch.tensor([[1.0], [2.0]], dtype=torch.float64, requires_grad=True)
    index = torch.ones(2, dtype=torch.float64, requires_grad=True)
    well = Well(name="P", kind="producer", cells=PRODUCER.cells, index=index)
    _, given = numbered(wells=(INJECTOR, well), controls=CONTROLS | {"I": Control(kind="rate", target=target)})
    by_target, by_index = torch.autograd.grad(given.targets.sum() + given.well_index.sum(), (target, index))
    assert by_target.tolist() == [[3.0], [3.0]]  # of three steps
    assert by_index.tolist() == [2.0, 2.0]  # of two members


def test_a_given_index_is_taken_as_it_is():
    well = Well(name="P", kind="producer", cells=PRODUCER.cells, index=torch.tensor([0.0, 3e-13]))
    _, given = numbered(wells=(INJECTOR, well))
    assert given.well_index[0, 2:].tolist() == torch.tensor([0.0, 3e-13]).double().tolist()


def test_fields_keep_the_place_of_their_cells():
    p = torch.arange(12.0, dtype=torch.float64).reshape(GRID.shape)
    _, given = numbered(initial=State(pressure=p))
    assert given.pressure[0, GRID.cell((1, 0, 1))] == p[1, 0, 1]


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"wells": ()}, "wells: got none; give one or more"),
        ({"wells": (INJECTOR, INJECTOR)}, r"got the names \['I', 'I'\]; each well needs its own \(two controls on one"),
        ({"wells": (INJECTOR,)}, r"schedule: controls wells \['I', 'P'\], but the wells are \['I'\]"),
        ({"controls": {"P": CONTROLS["P"]}}, r"controls wells \['P'\], but the wells are \['I', 'P'\]"),
        (
            {"controls": CONTROLS | {"I": [CONTROLS["I"], Control(kind="oil", target=1.0), CONTROLS["I"]]}},
            "injector 'I' is controlled by 'oil'; use 'rate', 'bhp' or 'shut'",
        ),
        (
            {"controls": CONTROLS | {"I": Control(kind="rate", target=torch.ones(2))}},
            r"control 'rate': got targets of shape \(2,\) for 3 steps; give one number, or one for each step",
        ),
        ({"controls": CONTROLS | {"I": Control(kind="rate", target=torch.ones(1, 1, 3))}}, r"shape \(1, 1, 3\)"),
        ({"initial": State(pressure=math.nan)}, r"initial pressure: got nan in cell \(0, 0, 0\) and 11 more; give Pa"),
        ({"initial": State(pressure=-math.inf)}, "initial pressure: got -inf"),
        (
            {"initial": State(pressure=2e7, saturation=1.5)},
            r"initial saturation: got 1.5 in cell \(0, 0, 0\) and 11 more; give fractions of the pores",
        ),
        ({"initial": State(pressure=2e7, saturation=-0.1)}, "initial saturation: got -0.1"),
        ({"initial": State(pressure=2e7, saturation=math.nan)}, "initial saturation: got nan"),
        (
            {"initial": State(pressure=torch.ones(2, 3))},
            r"initial pressure: got shape \(2, 3\); the grid has \(3, 2, 2\), after one axis of members at most",
        ),
        ({"initial": State(pressure=2e7, saturation=np.ones(GRID.shape))}, "initial saturation: got ndarray; give a"),
        (
            {"rock_": rock(members=2), "initial": State(pressure=torch.ones(3, *GRID.shape))},
            r"members: got \[2, 3\] of rock, fluid, well indices, controls or initial state; give one for all, or ",
        ),
        (
            {"wells": (INJECTOR, Well(name="P", kind="producer", cells=[(3, 0, 0)]))},
            r"well 'P': cell \(3, 0, 0\) is out",
        ),
        (
            {"rock_": rock(members=2), "controls": CONTROLS | {"I": Control(kind="rate", target=torch.ones(3, 1))}},
            r"members: got \[2, 3\]",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(keywords, says):
    with pytest.raises(ValueError, match=says):
        numbered(**keywords)
