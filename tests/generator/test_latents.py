"""A seed gives the same latents whatever else is asked for."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rockbank.generator import latents
from rockbank.generator.latents import Lattice, draw_latents, field_latents, latent_blocks

GOLDEN = [-0.29333901, 1.7038306, 1.53919184]
GOLDEN_FIELD = [-0.75501746, -1.05697966, 0.67593986]
LATTICE = Lattice(cell=16, margin=4)


@given(seed=st.integers(0, 2**64 - 1), few=st.integers(1, 9), more=st.integers(0, 30))
def test_a_sample_does_not_depend_on_how_many_are_drawn(seed: int, few: int, more: int) -> None:
    np.testing.assert_array_equal(draw_latents(seed, few, (3, 2)), draw_latents(seed, few + more, (3, 2))[:few])


def test_latents_are_standard_normal() -> None:
    drawn = draw_latents(7, 20_000, (10,))
    assert drawn.dtype == np.float32
    # 200,000 draws: the standard error of the mean is 0.0022, of the standard deviation 0.0016
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 1) < 0.01


def test_truncation_scales() -> None:
    np.testing.assert_array_equal(draw_latents(1, 4, (5,), truncation=0.5), draw_latents(1, 4, (5,)) * np.float32(0.5))


@pytest.mark.parametrize(
    ("seed", "n", "truncation", "says"),
    [(-1, 1, None, "seed: got -1"), (2**64, 1, None, "seed"), (0, 0, None, "n: got 0"), (0, 1, -0.5, "truncation")],
)
def test_what_cannot_be_drawn_is_refused(seed: int, n: int, truncation: float | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        draw_latents(seed, n, (3,), truncation)


def test_the_stream_of_a_seed_is_what_it_was() -> None:
    """An alarm: registered cards hold samples of it. A change is right only with a new version of every card."""
    np.testing.assert_allclose(draw_latents(7, 1, (3,))[0], GOLDEN, rtol=0, atol=1e-7)


@given(top=st.integers(-(2**40), 2**40), left=st.integers(-5, 5), rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_a_part_of_a_field_does_not_depend_on_what_else_is_drawn(top: int, left: int, rows: int, columns: int) -> None:
    whole = field_latents(7, 3, range(top, top + 6), range(left - 1, left + 5), 9)
    part = field_latents(7, 3, range(top + 1, top + 1 + rows), range(left, left + columns), 9)
    np.testing.assert_array_equal(part, whole[:, 1 : 1 + rows, 1 : 1 + columns])


def test_a_field_is_what_philox_gives_at_each_cell() -> None:
    """Against the slow way: a generator for each cell."""
    field = field_latents(2**64 - 1, 2, range(-2, 1), range(-1, 3), 5)
    for i in range(-2, 1):
        for j in range(-1, 3):
            key = np.array([2**64 - 1, 2], dtype=np.uint64)
            counter = np.array([0, 0, i % 2**64, j % 2**64], dtype=np.uint64)
            rng = np.random.Generator(np.random.Philox(key=key, counter=counter))
            np.testing.assert_array_equal(field[:, i + 2, j + 1], rng.standard_normal(5, dtype=np.float32))


def test_a_field_is_standard_normal_and_its_cells_and_channels_are_independent() -> None:
    field = field_latents(7, 0, range(-50, 50), range(-50, 50), 20)
    # 200,000 draws: the standard error of the mean and of a correlation is 0.0022, of the standard deviation 0.0016
    assert abs(field.mean()) < 0.01
    assert abs(field.std() - 1) < 0.01
    neighbours = {
        "row": (field[:, 1:], field[:, :-1]),
        "column": (field[:, :, 1:], field[:, :, :-1]),
        "channel": (field[1:], field[:-1]),
        "the transposed cell": (field, field.transpose(0, 2, 1)),
        "sample": (field, field_latents(7, 1, range(-50, 50), range(-50, 50), 20)),
        "seed": (field, field_latents(8, 0, range(-50, 50), range(-50, 50), 20)),
    }
    for what, (one, other) in neighbours.items():
        # A transposed cell on the diagonal is itself: 1 % of them.
        expected = 0.01 if what == "the transposed cell" else 0.0
        assert abs((one * other).mean() - expected) < 0.01, what


def test_samples_of_a_lattice_are_parts_of_their_own_fields_at_the_image_s_first_pixel() -> None:
    drawn = draw_latents(7, 3, (5, 12, 10), 0.5, lattice=LATTICE)
    for i, latent in enumerate(drawn):
        np.testing.assert_array_equal(latent, field_latents(7, i, range(-4, 8), range(-4, 6), 5, 0.5))
    blocks = list(latent_blocks(7, 3, (5, 12, 10), 0.5, size=2, lattice=LATTICE))
    assert [len(block) for block in blocks] == [2, 1]
    np.testing.assert_array_equal(np.concatenate(blocks), drawn)
    assert LATTICE.image(12, 10) == (64, 32)


@pytest.mark.parametrize("lattice", [None, LATTICE])
def test_latents_from_a_place_on_are_the_last_of_all(lattice: Lattice | None) -> None:
    whole = draw_latents(7, 11, (5, 10, 9), 0.5, lattice=lattice)
    blocks = list(latent_blocks(7, 11, (5, 10, 9), 0.5, size=3, begin=4, lattice=lattice))
    assert [len(block) for block in blocks] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(blocks), whole[4:])


def test_on_a_lattice_nothing_is_drawn_of_the_samples_before(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[range] = []
    fields = latents._fields

    def counted(seed: int, samples: range, *rest: Any) -> np.ndarray:
        drawn.append(samples)
        return fields(seed, samples, *rest)

    monkeypatch.setattr(latents, "_fields", counted)
    assert len(list(latent_blocks(7, 70, (5, 10, 9), size=16, begin=48, lattice=LATTICE))) == 2
    assert drawn == [range(48, 64), range(64, 70)]


def test_of_a_cell_so_many_first_numbers_are_drawn_as_are_read_at_its_distance_from_the_edge() -> None:
    whole = draw_latents(7, 3, (5, 12, 10), 0.5, lattice=LATTICE)
    (part,) = latent_blocks(7, 3, (5, 12, 10), 0.5, size=3, lattice=LATTICE, n_read=(2, 0, 4))
    whole[:, 2:, [0, -1]] = whole[:, 2:, :, [0, -1]] = 0
    whole[:, :, [1, -2], 1:-1] = whole[:, :, 1:-1, [1, -2]] = 0
    whole[:, 4:, [2, -3], 2:-2] = whole[:, 4:, 2:-2, [2, -3]] = 0
    np.testing.assert_array_equal(part, whole)


@pytest.mark.parametrize(
    ("seed", "sample", "truncation", "says"),
    [(-1, 0, None, "seed: got -1"), (0, -1, None, "sample: got -1"), (0, 2**64, None, "sample"), (0, 0, 11.0, "trunc")],
)
def test_what_is_no_field_is_refused(seed: int, sample: int, truncation: float | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        field_latents(seed, sample, range(1), range(1), 3, truncation)


def test_the_field_of_a_seed_is_what_it_was() -> None:
    """An alarm: registered cards hold samples of it, and its windows are asked for again by number."""
    found = field_latents(7, 1, range(-1, 0), range(2, 3), 3).ravel()
    np.testing.assert_allclose(found, GOLDEN_FIELD, rtol=0, atol=1e-7)
