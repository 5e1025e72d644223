"""Peaceman's index against hand values, and wells, controls and schedules that cannot be."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.wells import Control, Schedule, Well, peaceman_index

PUBLISHED = Grid(shape=(3, 3), spacing=(4.0, 4.0, 10.0))
ROUND_OFF = 1e-13


def rock(grid, *k):
    fields = [torch.full(grid.shape, value, dtype=torch.float64) for value in k]
    porosity = torch.full(grid.shape, 0.2, dtype=torch.float64)
    return Rock(grid=grid, permeability=fields[0] if len(k) == 1 else fields, porosity=porosity)


def producer(**keywords):
    return Well(**({"name": "P", "kind": "producer", "cells": [(1, 1)]} | keywords))


def test_in_the_published_geometry_the_index_is_the_published_one():
    # FLOW.md: a bore along y through cells of 4 x 4 x 10 m, WI = 9.262906 k to the digits given there
    index = peaceman_index(rock(PUBLISHED, 2e-13), producer(axis=1))
    assert index.item() == pytest.approx(9.262906 * 2e-13, rel=1e-7)
    assert index.item() == pytest.approx(
        2 * math.pi * 4 * 2e-13 / math.log(0.14 * math.hypot(4, 10) / 0.1), rel=ROUND_OFF
    )


def test_in_a_square_isotropic_cell_the_equivalent_radius_is_a_fifth_of_its_side():
    # Peaceman 1978: r_e = 0.14 sqrt(dx^2 + dy^2), which is 0.198 dx
    index = peaceman_index(rock(PUBLISHED, 1e-13), producer())
    r_e = 0.1 * math.exp(2 * math.pi * 10 * 1e-13 / index.item())
    assert r_e == pytest.approx(0.28 / math.sqrt(2) * 4, rel=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_anisotropy_is_a_stretching_of_the_axes(axis):
    # In coordinates x_a / sqrt(k_a) the flow is isotropic: the index is that of the stretched cell, up to the
    # ellipse that the bore becomes, whose radius Peaceman takes as the mean of its half-axes.
    k, size = [1e-13, 4e-13, 9e-13], [4.0, 5.0, 10.0]
    u, v = (a for a in range(3) if a != axis)
    grid = Grid(shape=(3, 3, 3), spacing=tuple(size))
    index = peaceman_index(rock(grid, *k), producer(cells=[(1, 1, 1)], axis=axis))
    stretched = 0.28 * math.hypot(size[u] / math.sqrt(k[u]), size[v] / math.sqrt(k[v])) / 2
    bore = 0.1 * (1 / math.sqrt(k[u]) + 1 / math.sqrt(k[v])) / 2
    expected = 2 * math.pi * size[axis] * math.sqrt(k[u] * k[v]) / math.log(stretched / bore)
    assert index.item() == pytest.approx(expected, rel=ROUND_OFF)


def test_the_cells_own_sizes_and_permeability_count():
    grid = Grid(shape=(2, 1, 2), spacing=((4.0, 8.0), 4.0, (2.0, 6.0)))
    k = torch.tensor([[[1e-13, 2e-13]], [[3e-13, 4e-13]]], dtype=torch.float64)
    some = Rock(grid=grid, permeability=k, porosity=torch.full(grid.shape, 0.2))
    index = peaceman_index(some, producer(cells=[(1, 0, 0), (1, 0, 1)]))
    alone = 2 * math.pi / math.log(0.14 * math.hypot(4, 8) / 0.1)
    np.testing.assert_allclose(index[0], [alone * 2 * 3e-13, alone * 6 * 4e-13], rtol=ROUND_OFF)


@settings(deadline=None, max_examples=30)
@given(factor=st.floats(1e-3, 1e3), skin=st.floats(-1, 20))
def test_the_index_scales_with_permeability_and_its_inverse_is_linear_in_the_skin(factor, skin):
    index = peaceman_index(rock(PUBLISHED, 1e-13), producer())
    scaled = peaceman_index(rock(PUBLISHED, factor * 1e-13), producer(skin=skin))
    whole = 2 * math.pi * 10 * 1e-13
    assert whole * factor / scaled.item() == pytest.approx(whole / index.item() + skin, rel=1e-12)


def test_members_have_their_own_index():
    k = torch.tensor([1e-13, 3e-13], dtype=torch.float64)[:, None, None].expand(2, 3, 3)
    index = peaceman_index(Rock(grid=PUBLISHED, permeability=k, porosity=torch.full((3, 3), 0.2)), producer())
    assert index.shape == (2, 1)
    assert (index[1] / index[0]).item() == pytest.approx(3, rel=ROUND_OFF)


def test_the_index_has_exact_gradients():
    generator = torch.Generator().manual_seed(0)
    k = [(0.5 + torch.rand(2, 3, 3, generator=generator, dtype=torch.float64)).requires_grad_() for _ in range(3)]
    phi = torch.full((3, 3), 0.2)
    well = producer(cells=[(0, 1), (2, 1)], axis=1, skin=0.3)
    assert torch.autograd.gradcheck(
        lambda *k: peaceman_index(Rock(grid=PUBLISHED, permeability=k, porosity=phi), well), k
    )


@pytest.mark.parametrize(("keywords", "got"), [({"radius": 1.0}, "radius 1.0"), ({"skin": -3.0}, "skin -3.0")])
def test_a_bore_too_wide_for_its_cell_is_refused(keywords, got):
    with pytest.raises(ValueError, match=rf"well 'P': .*{got}.* leave no positive well index; .* radius is 0.792 m"):
        peaceman_index(rock(PUBLISHED, 1e-13), producer(**keywords))


def test_perforations_are_the_numbers_of_their_cells():
    assert producer(cells=[(2, 1), (0, 0)]).perforations(PUBLISHED) == [7, 0]


@pytest.mark.parametrize("place", [(3, 0), (0, -1), (1, 1, 1)])
def test_a_well_outside_the_grid_is_refused(place):
    with pytest.raises(ValueError, match=r"well 'P': cell .* is outside the grid of \(3, 3\) cells, numbered from 0"):
        producer(cells=[(0, 0), place]).perforations(PUBLISHED)


def test_a_well_in_a_cell_that_is_not_active_is_refused():
    active = np.ones((3, 3), dtype=bool)
    active[1, 1] = False
    with pytest.raises(ValueError, match=r"well 'P': cell \(1, 1\) is not active; take one that is"):
        producer().perforations(Grid(shape=(3, 3), spacing=(1.0, 1.0, 1.0), active=active))


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"kind": "observer"}, "got kind 'observer'; it is an 'injector' or a 'producer'"),
        ({"cells": []}, "got 0 perforations; give one or more, each once"),
        ({"cells": [(1, 1), (1, 1)]}, "got 2 perforations; give one or more, each once"),
        ({"cells": [[1, 1], [1, 1]]}, "got 2 perforations; give one or more, each once"),
        ({"axis": 3}, "got axis 3; 0, 1 or 2 is along x, y or z"),
        ({"radius": 0.0}, "got radius 0.0 m; it must be positive"),
        ({"radius": math.nan}, "got radius nan m"),
        ({"skin": math.nan}, "got skin nan; give a finite number"),
        ({"datum": math.inf}, "got datum inf"),
        ({"head_density": math.nan}, "got head_density nan"),
        ({"index": torch.ones(2)}, r"got \(2,\) well indices for 1 perforations; give one each"),
        ({"index": torch.ones(2, 2, 1)}, r"got \(2, 2, 1\) well indices"),
        ({"index": torch.tensor([-1.0])}, r"index: got -1 m\^3; give 0 or more"),
        ({"index": torch.tensor([math.nan])}, r"index: got nan m\^3"),
        ({"index": torch.tensor([math.inf])}, r"index: got inf m\^3"),
    ],
)
def test_a_well_that_cannot_be_is_refused(keywords, says):
    with pytest.raises(ValueError, match="well 'P'.*" + says):
        producer(**keywords)


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"kind": "gas"}, r"got 'gas'; known are \['bhp', 'rate', 'oil', 'water', 'shut'\]"),
        ({"kind": "rate", "target": -1.0}, "control 'rate', target: got -1; give a number of at least 0"),
        ({"kind": "bhp", "target": math.nan}, "control 'bhp', target: got nan"),
        ({"kind": "bhp", "target": math.inf}, "control 'bhp', target: got inf"),
        ({"kind": "shut", "target": math.nan}, "control 'shut', target: got nan"),
        ({"kind": "rate", "target": torch.tensor([1.0, math.nan])}, "control 'rate', target: got nan"),
        (
            {"kind": "rate", "target": 1.0, "limit": -2e7},
            "control 'rate', limit: got -2e.07; give a number of at least 0",
        ),
        ({"kind": "rate", "target": 1.0, "limit": math.nan}, "limit: got nan"),
        ({"kind": "rate", "target": 1.0, "limit": math.inf}, "limit: got inf; give a number of at least 0, or None"),
    ],
)
def test_a_control_that_cannot_be_is_refused(keywords, says):
    with pytest.raises(ValueError, match=says):
        Control(**keywords)


def test_a_control_holds_for_every_step_unless_each_has_its_own():
    one, other = Control(kind="bhp", target=1e7), Control(kind="shut")
    schedule = Schedule(steps=(1.0, 2.0), controls={"A": one, "B": (one, other)})
    assert schedule.of("A") == [one, one]
    assert schedule.of("B") == [one, other]


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ((), r"got steps of shape \(0,\); give one or more positive lengths, so that times increase"),
        (((1.0,),), r"got steps of shape \(1, 1\)"),
        ((1.0, 0.0), "got a step of 0.0 s"),
        ((1.0, -3.0), "got a step of -3.0 s; give one or more positive lengths, so that times increase"),
        ((math.nan,), "got a step of nan s"),
        ((1.0, math.inf), "got a step of inf s"),
    ],
)
def test_times_that_do_not_increase_are_refused(steps, says):
    with pytest.raises(ValueError, match=says):
        Schedule(steps=steps, controls={})


def test_as_many_controls_as_steps_are_needed():
    with pytest.raises(ValueError, match="well 'A' has 1 controls for 2 steps; give one, or one for each"):
        Schedule(steps=(1.0, 2.0), controls={"A": [Control(kind="shut")]})
