"""Transmissibility and pore volume against hand values, and rocks that cannot be."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.rock import Rock, pore_volume, transmissibility

GRID = Grid(shape=(2, 3), spacing=(4.0, 5.0, 10.0))
ROUND_OFF = 1e-14


def random_rock(grid=GRID, members=(), seed=0, components=1, **keywords):
    generator = torch.Generator().manual_seed(seed)
    shape = (*members, *grid.shape)
    k = [1e-13 * (0.1 + torch.rand(shape, generator=generator, dtype=torch.float64)) for _ in range(components)]
    porosity = 0.1 + 0.3 * torch.rand(shape, generator=generator, dtype=torch.float64)
    return Rock(grid=grid, permeability=k[0] if components == 1 else k, porosity=porosity, **keywords)


def rock(permeability=1e-13, porosity=0.2, **keywords):
    fields = [torch.full(GRID.shape, value, dtype=torch.float64) for value in (permeability, porosity)]
    return Rock(grid=GRID, permeability=fields[0], porosity=fields[1], **keywords)


def test_between_equal_cells_transmissibility_is_k_times_area_over_distance():
    t = transmissibility(rock(permeability=3e-13))
    along_x, along_y = 3e-13 * 5 * 10 / 4, 3e-13 * 4 * 10 / 5
    np.testing.assert_allclose(t[0], [along_x] * 3 + [along_y] * 4, rtol=ROUND_OFF)


def test_between_unlike_cells_it_is_the_published_harmonic_one():
    # FLOW.md's case: T = 10 * 2 / (1 / k1 + 1 / k2) for cells of 4 x 4 x 10 m
    grid = Grid(shape=(2, 1), spacing=(4.0, 4.0, 10.0))
    k = torch.tensor([[1e-12], [1e-15]], dtype=torch.float64)
    t = transmissibility(Rock(grid=grid, permeability=k, porosity=torch.full((2, 1), 0.2)))
    assert t.item() == pytest.approx(10 * 2 / (1e12 + 1e15), rel=ROUND_OFF)


def test_unequal_cells_are_half_cells_in_series():
    grid = Grid(shape=(2, 1, 2), spacing=((2.0, 6.0), 3.0, (1.0, 5.0)))
    k = torch.arange(1.0, 5.0, dtype=torch.float64).reshape(2, 1, 2)
    t = transmissibility(Rock(grid=grid, permeability=k, porosity=torch.full((2, 1, 2), 0.2)))
    expected = [3 / (1 / 1 + 3 / 3), 15 / (1 / 2 + 3 / 4), 6 / (0.5 / 1 + 2.5 / 2), 18 / (0.5 / 3 + 2.5 / 4)]
    np.testing.assert_allclose(t[0], expected, rtol=ROUND_OFF)


def test_each_axis_takes_its_own_permeability():
    grid = Grid(shape=(2, 2, 2), spacing=(1.0, 1.0, 1.0))
    k = [torch.full(grid.shape, value, dtype=torch.float64) for value in (1.0, 2.0, 3.0)]
    t = transmissibility(Rock(grid=grid, permeability=k, porosity=torch.full(grid.shape, 0.2)))
    np.testing.assert_allclose(t[0], 1.0 + grid.face_axis, rtol=ROUND_OFF)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_transmissibility_scales_with_permeability(seed, factor):
    some = random_rock(seed=seed)
    scaled = Rock(grid=GRID, permeability=factor * some.permeability, porosity=some.porosity)
    torch.testing.assert_close(transmissibility(scaled), factor * transmissibility(some), rtol=ROUND_OFF, atol=0)


def test_the_pore_volume_is_the_porosity_of_the_cell():
    np.testing.assert_allclose(pore_volume(rock(porosity=0.25))[0], [4 * 5 * 10 * 0.25] * 6, rtol=ROUND_OFF)


def test_members_share_what_is_given_once():
    k = random_rock(members=(3,)).permeability
    some = Rock(grid=GRID, permeability=k, porosity=torch.full((2, 3), 0.2, dtype=torch.float64))
    assert transmissibility(some).shape == (3, 7)
    assert pore_volume(some).shape == (1, 6)
    alone = Rock(grid=GRID, permeability=k[1], porosity=some.porosity)
    torch.testing.assert_close(transmissibility(some)[1:2], transmissibility(alone), rtol=0, atol=0)


def test_single_precision_fields_are_taken_up_in_double():
    some = Rock(grid=GRID, permeability=torch.full((2, 3), 1e-13), porosity=torch.full((2, 3), 0.2))
    assert transmissibility(some).dtype == pore_volume(some).dtype == torch.float64


@pytest.mark.parametrize("components", [1, 3])
def test_transmissibility_and_pore_volume_have_exact_gradients(components):
    active = np.ones((2, 2, 2), dtype=bool)
    active[1, 0, 1] = False
    grid = Grid(shape=(2, 2, 2), spacing=((1.0, 2.0), (1.5, 1.0), (0.5, 2.0)), active=active)
    phi, *k = (0.2 + 0.5 * torch.rand(2, *grid.shape, generator=torch.Generator().manual_seed(i), dtype=torch.float64)
               for i in range(1 + components))  # fmt: skip

    def both(phi, *k):
        some = Rock(grid=grid, permeability=k[0] if components == 1 else k, porosity=phi)
        return transmissibility(some), pore_volume(some)

    assert torch.autograd.gradcheck(both, [x.requires_grad_() for x in (phi, *k)])


def test_what_is_not_active_may_hold_anything():
    active = np.array([[True, True, False], [True, True, True]])
    grid = Grid(shape=(2, 3), spacing=(1.0, 1.0, 1.0), active=active)
    k, phi = torch.ones(2, 3), torch.full((2, 3), 0.2)
    k[0, 2], phi[0, 2] = math.nan, 0.0
    assert transmissibility(Rock(grid=grid, permeability=k, porosity=phi)).isfinite().all()
    k[1, 0] = -5.0
    with pytest.raises(ValueError, match=r"permeability: got -5 in cell \(1, 0\); it must be 0 or more"):
        Rock(grid=grid, permeability=k, porosity=phi)


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"permeability": -1e-13}, r"permeability: got -1e-13 in cell \(0, 0\) and 5 more; it must be 0 or more"),
        ({"permeability": math.nan}, "permeability: got nan"),
        ({"permeability": math.inf}, "permeability: got inf"),
        (
            {"porosity": 0.0},
            r"porosity: got 0 in cell \(0, 0\) and 5 more; it must lie in \(0, 1\]; switch a cell without",
        ),
        ({"porosity": 1.5}, r"porosity: got 1.5 in cell \(0, 0\) and 5 more; it must"),
        ({"porosity": -0.1}, r"porosity: got -0.1 in cell \(0, 0\) and 5 more; it must"),
        ({"porosity": math.nan}, r"porosity: got nan in cell \(0, 0\) and 5 more; it must"),
        ({"compressibility": -1e-10}, "got compressibility -1e-10 1/Pa; give 0"),
        ({"compressibility": 1e-5}, "got compressibility 1e-05 1/Pa"),
        ({"compressibility": math.nan}, "got compressibility nan 1/Pa"),
        ({"reference_pressure": math.nan}, "got reference pressure nan Pa"),
    ],
)
def test_a_rock_that_cannot_be_is_refused(keywords, says):
    with pytest.raises(ValueError, match=says):
        rock(**keywords)


def test_a_porosity_of_one_is_a_fracture_and_allowed():
    assert pore_volume(rock(porosity=1.0)).sum() == pytest.approx(GRID.volume.sum(), rel=ROUND_OFF)


@pytest.mark.parametrize(
    ("k_shape", "phi_shape", "says"),
    [
        ((3, 2), (2, 3), r"permeability x: got shape \(3, 2\); the grid has \(2, 3\), after one axis"),
        ((2, 3), (6,), r"porosity: got shape \(6,\)"),
        ((1, 1, 2, 3), (2, 3), r"permeability x: got shape \(1, 1, 2, 3\)"),
        ((2, 2, 3), (4, 2, 3), r"have \[2, 4\] members; give the same number"),
    ],
)
def test_shapes_that_disagree_are_refused(k_shape, phi_shape, says):
    with pytest.raises(ValueError, match=says):
        Rock(grid=GRID, permeability=torch.ones(k_shape), porosity=torch.full(phi_shape, 0.2))


def test_two_components_and_no_tensors_are_refused():
    phi = torch.full((2, 3), 0.2)
    with pytest.raises(ValueError, match="got 2 components; give one, or three along x, y and z"):
        Rock(grid=GRID, permeability=[torch.ones(2, 3)] * 2, porosity=phi)
    with pytest.raises(ValueError, match="porosity: got ndarray; give a torch tensor of floating point numbers"):
        Rock(grid=GRID, permeability=torch.ones(2, 3), porosity=phi.numpy())
    with pytest.raises(ValueError, match=r"permeability x: got torch.int64; give a torch tensor of floating"):
        Rock(grid=GRID, permeability=torch.ones(2, 3, dtype=torch.int64), porosity=phi)


def test_multipliers_and_net_rock_multiply_faces_and_pores():
    grid = Grid(shape=(2, 1, 2), spacing=(4.0, 2.0, 1.0))
    k, phi = torch.full(grid.shape, 1e-13, dtype=torch.float64), torch.full(grid.shape, 0.2, dtype=torch.float64)
    plain = Rock(grid=grid, permeability=k, porosity=phi)
    net = torch.full((4,), 0.5, dtype=torch.float64)
    pores = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    faces = torch.tensor([0.0, 0.1, 1.0, 2.0], dtype=torch.float64)
    rock = replace(plain, net_to_gross=net, pore_multiplier=pores, face_multiplier=faces)
    # Net rock counts along x and y, not down.
    part = torch.where(torch.as_tensor(grid.face_axis) < 2, 0.5, 1.0)
    torch.testing.assert_close(transmissibility(rock), transmissibility(plain) * part * faces, rtol=1e-14, atol=0)
    torch.testing.assert_close(pore_volume(rock), pore_volume(plain) * 0.5 * pores, rtol=1e-14, atol=0)
    with pytest.raises(ValueError, match=r"rock: got face_multiplier of shape \(3,\); give 4 numbers"):
        replace(plain, face_multiplier=faces[:3])
    with pytest.raises(ValueError, match=r"rock: net_to_gross: got -0\.5; it must be positive"):
        replace(plain, net_to_gross=-net)


def test_nothing_flows_through_rock_without_permeability_nor_is_its_gradient_lost():
    grid = Grid(shape=(4, 1), spacing=(1.0, 1.0, 1.0))
    k = torch.tensor([[1.0], [0.0], [0.0], [2.0]], dtype=torch.float64, requires_grad=True)
    t = transmissibility(Rock(grid=grid, permeability=k, porosity=torch.full((4, 1), 0.2)))
    assert t.tolist() == [[0.0, 0.0, 0.0]]
    t.sum().backward()
    assert k.grad is not None
    assert k.grad.isfinite().all()


@pytest.mark.parametrize("name", ["compressibility", "reference_pressure"])
def test_what_the_pores_do_is_one_number_or_one_for_each_cell(name):
    values = {"compressibility": np.array([1e-10, 0, 0, 0, 0, 2e-10]), "reference_pressure": 1e7 * np.arange(6.0)}[name]
    assert getattr(rock(**{name: values}), name) is values
    with pytest.raises(ValueError, match=rf"rock: got {name} of shape \(5,\); give one number, or 6, one for each"):
        rock(**{name: values[:5]})
    with pytest.raises(ValueError, match=f"rock: got {name.replace('_', ' ')} nan"):
        rock(**{name: np.where(np.arange(6) == 3, np.nan, values)})
