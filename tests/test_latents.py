"""A seed gives the same latents whatever else is asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rockbank.latents import draw_latents

GOLDEN = [-0.29333901, 1.7038306, 1.53919184]


@given(seed=st.integers(0, 2**64 - 1), few=st.integers(1, 9), more=st.integers(0, 30))
def test_a_sample_does_not_depend_on_how_many_are_drawn(seed: int, few: int, more: int) -> None:
    np.testing.assert_array_equal(draw_latents(seed, few, (3, 2)), draw_latents(seed, few + more, (3, 2))[:few])


def test_latents_are_standard_normal() -> None:
    latents = draw_latents(7, 20_000, (10,))
    assert latents.dtype == np.float32
    # 200,000 draws: the standard error of the mean is 0.0022, of the standard deviation 0.0016
    assert abs(latents.mean()) < 0.01
    assert abs(latents.std() - 1) < 0.01


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
