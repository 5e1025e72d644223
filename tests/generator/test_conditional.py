"""Samples of a wanted porosity are those of the seed that have it, in order; what the rock has not is refused."""

import re
from typing import Any

import numpy as np
import pytest

from rockbank.generator.conditional import Condition, TooRare, accepted, parse_condition
from rockbank.rock.descriptors import describe, porosity, specific_surface
from rockbank.rock.segmentation import Segmentation, segment

SEGMENTATION = Segmentation(smoothing=0.0, threshold=0.5, phase="below")
MEASURE = {"porosity": porosity, "specific_surface": specific_surface}


def rock(n: int, seed: int = 0) -> np.ndarray:
    """Samples whose porosity is uniform in [0.1, 0.4]."""
    rng = np.random.default_rng(seed)
    part = rng.uniform(0.1, 0.4, (n, 1, 1, 1))
    return (rng.random((n, 1, 32, 32)) > part).astype(np.float32)


@pytest.mark.parametrize(
    ("statistic", "wanted", "interval"),
    [
        ("porosity", "0.12", (0.11, 0.13)),
        ("porosity", "0.005", (0.0, 0.015)),
        ("porosity", "0.05..0.15", (0.05, 0.15)),
        ("specific_surface", "1e-1..2e-1", (0.1, 0.2)),
        ("porosity", 0.12, (0.11, 0.13)),
        ("porosity", 1, (0.99, 1.01)),
        ("porosity", [0.05, 0.15], (0.05, 0.15)),
        ("porosity", (0, 0.15), (0, 0.15)),
    ],
)
def test_wanted_values_are_read(statistic: str, wanted: Any, interval: tuple[float, float]) -> None:
    condition = parse_condition(statistic, wanted)
    assert (condition.low, condition.high) == pytest.approx(interval)


@pytest.mark.parametrize(
    "wanted",
    [
        *("", "a", "0.1..", "0.1..0.2..0.3", "nan", "0.2..0.1", "-0.3..0.1", "0.1..inf"),
        *(
            True,
            None,
            -0.3,
            float("nan"),
            10**400,
            {},
            [],
            [0.1],
            [0.1, 0.2, 0.3],
            [0.2, 0.1],
            [0.1, "0.2"],
            [[0.1], 0.2],
        ),
    ],
)
def test_other_values_are_refused_with_their_name(wanted: Any) -> None:
    with pytest.raises(ValueError, match="porosity: got") as caught:
        parse_condition("porosity", wanted)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("wanted", ["-0.005", -0.005, "-0.3..0.1", [-0.1, 0.2]])
def test_a_negative_value_is_refused_as_it_was_given(wanted: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"porosity: got {wanted!r}; use numbers of at least 0")):
        parse_condition("porosity", wanted)


@pytest.mark.parametrize("statistic", MEASURE)
def test_what_is_kept_are_the_samples_that_meet_the_condition_in_their_order(statistic: str) -> None:
    samples = rock(400)
    values = MEASURE[statistic](segment(samples, SEGMENTATION))
    low, high = np.quantile(values, [0.4, 0.5])
    condition = Condition(statistic=statistic, low=float(low), high=float(high))
    wanted = np.flatnonzero((low <= values) & (values <= high))[:20]
    kept = list(accepted(np.array_split(samples, 30), condition, SEGMENTATION, 20))
    assert [place for place, _ in kept] == wanted.tolist()
    np.testing.assert_array_equal(np.stack([sample for _, sample in kept]), samples[wanted])


def test_nothing_is_drawn_beyond_the_last_that_is_wanted() -> None:
    sampled: list[int] = []

    def batches():  # type: ignore[no-untyped-def]
        for i in range(100):
            sampled.append(i)
            yield rock(16, seed=i)

    condition = Condition(statistic="porosity", low=0.1, high=0.4)
    assert len(list(accepted(batches(), condition, SEGMENTATION, 8))) == 8
    assert sampled == [0]


def test_too_rare_a_condition_says_what_there_is() -> None:
    condition = Condition(statistic="porosity", low=0.8, high=0.9)
    with pytest.raises(TooRare, match=r"0 of 3 samples with a porosity of 0.8 to 0.9 among 200; nine of ten have 0\.1"):
        list(accepted([rock(100), rock(100, 1)], condition, SEGMENTATION, 3))


def test_what_the_rock_has_not_is_refused_with_its_range() -> None:
    reference = describe(segment(rock(300), SEGMENTATION))
    Condition(statistic="porosity", low=0.2, high=0.21).check(reference)
    with pytest.raises(
        ValueError, match=r"no crop of the rock has a porosity of 0.6 to 0.7; its 300 held-out .* 0\.\d+"
    ):
        Condition(statistic="porosity", low=0.6, high=0.7).check(reference)


def test_what_lies_within_the_range_of_the_rock_is_not_refused_be_there_a_crop_of_it_or_not() -> None:
    reference = {"porosity": {"values": [0.0, 0.1, 0.761]}}
    for low, high in ((0.69, 0.71), (0.761, 0.8), (0.0, 0.01)):
        Condition(statistic="porosity", low=low, high=high).check(reference)
    with pytest.raises(ValueError, match=r"its 3 held-out crops have 0 to 0\.761"):
        Condition(statistic="porosity", low=0.762, high=0.8).check(reference)


@pytest.mark.parametrize("reference", [{}, {"porosity": {"mean": 0.2, "std": 0.1}}, {"porosity": {"values": []}}])
def test_a_reference_without_the_rocks_values_is_refused_with_the_remedy(reference: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match=r"reference\.json has no values of the rock's porosity.*register the generator"
    ):
        Condition(statistic="porosity", low=0.2, high=0.21).check(reference)
