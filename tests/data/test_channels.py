from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from rockbank.data.synthetic.channels import (
    DENSITY,
    FACIES,
    POROSITY,
    RADII,
    SAND,
    SHALE,
    channel_crops,
    channel_sections,
)
from rockbank.params import ChannelsParams

SECTIONS = channel_sections(400, np.random.default_rng(11), 0.5)
IS_SAND = SECTIONS[:, FACIES] == 1
PUBLISHED = Path(__file__).parents[2].parent / "shared" / "data" / "deepflow" / "model_67_x.npy"


def visible_bodies(section: np.ndarray) -> list[np.ndarray]:
    """Cells of each body, told apart by their porosity variable, which is one number a body."""
    sand = section[FACIES] == 1
    return [sand & (section[POROSITY] == value) for value in np.unique(section[POROSITY][sand])]


def test_sections_are_facies_and_two_variables_in_the_unit_interval() -> None:
    assert SECTIONS.shape == (400, 3, 64, 128)
    assert SECTIONS.dtype == np.float32
    assert set(np.unique(SECTIONS[:, FACIES])) == {0.0, 1.0}
    assert SECTIONS.min() >= 0
    assert SECTIONS.max() <= 1


def test_the_sand_proportion_is_the_laws() -> None:
    # CHANNELS.md: 0.511 +- 0.011; the mean of 400 errs by 0.0006, the standard deviation by 4 %.
    proportion = IS_SAND.mean(axis=(1, 2))
    assert proportion.min() >= 0.5
    assert proportion.mean() == pytest.approx(0.511, abs=0.002)
    assert proportion.std() == pytest.approx(0.011, abs=0.002)


def test_an_only_body_is_a_half_disc_with_its_flat_side_up() -> None:
    # One body exceeds so small a proportion: 4 cells of 8192.
    sections = channel_sections(200, np.random.default_rng(1), 0.0005)
    x, z = np.arange(128), np.arange(64)[:, None]
    for section in sections:
        sand = section[FACIES] == 1
        rows, columns = np.nonzero(sand)
        cz = rows.min()
        flat = columns[rows == cz]
        fits = [
            np.array_equal(sand, ((x - cx) ** 2 + (z - cz) ** 2 <= r**2) & (z >= cz))
            for r in set(RADII)
            for cx in (flat.min() + r, flat.max() - r)
        ]
        assert any(fits)


def test_later_bodies_overwrite_earlier_ones_whole() -> None:
    # Of the bodies in a section the last is a full half disc: at least one visible body is.
    for section in SECTIONS[:20]:
        x, z = np.arange(128), np.arange(64)[:, None]
        found = False
        for body in visible_bodies(section):
            rows, columns = np.nonzero(body)
            flat = columns[rows == rows.min()]
            for r in set(RADII):
                for cx in (flat.min() + r, flat.max() - r):
                    found |= np.array_equal(body, ((x - cx) ** 2 + (z - rows.min()) ** 2 <= r**2) & (z >= rows.min()))
        assert found


def test_the_number_of_bodies_is_the_laws() -> None:
    # CHANNELS.md: 31 +- 5 drawn; one or two of them lie hidden under later ones. The mean of 400 errs by 0.2.
    n_visible = np.array([len(visible_bodies(section)) for section in SECTIONS])
    assert 28.5 < n_visible.mean() < 31
    assert 4 < n_visible.std() < 5.5


@pytest.mark.parametrize(("channel", "index"), [(POROSITY, 0), (DENSITY, 1)])
def test_each_facies_has_its_mean_and_deviation(channel: int, index: int) -> None:
    # 25,600 layers; 12,000 bodies, the larger ones counted by their cells: the sand's numbers err by 2 %.
    for is_facies, law in ((~IS_SAND, SHALE[index]), (IS_SAND, SAND[index])):
        values = SECTIONS[:, channel][is_facies]
        assert values.mean() == pytest.approx(law[0], rel=0.02)
        assert values.std() == pytest.approx(law[1], rel=0.05)


def test_a_background_row_is_uniform_and_rows_are_uncorrelated() -> None:
    porosity = np.where(IS_SAND, np.nan, SECTIONS[:, POROSITY])
    known = ~np.isnan(porosity).all(axis=2)
    low = np.where(IS_SAND, np.inf, SECTIONS[:, POROSITY]).min(axis=2)
    high = np.where(IS_SAND, -np.inf, SECTIONS[:, POROSITY]).max(axis=2)
    assert np.array_equal(low[known], high[known])
    pair = known[:, 1:] & known[:, :-1]
    # 25,000 pairs: the correlation of independent rows errs by 0.006; four of those.
    assert abs(np.corrcoef(low[:, 1:][pair], low[:, :-1][pair])[0, 1]) < 0.025


def test_a_seed_gives_one_set_and_the_proportion_is_met() -> None:
    one, two = (channel_sections(5, np.random.default_rng(9), 0.3) for _ in range(2))
    assert np.array_equal(one, two)
    assert (one[:, FACIES].mean(axis=(1, 2)) >= 0.3).all()
    assert (one[:, FACIES].mean(axis=(1, 2)) < 0.4).all()


def test_the_crop_set_has_16_bits_and_its_streams_apart() -> None:
    few = channel_crops(ChannelsParams(n_train=6, n_validation=3, n_test=4, sand_proportion=0.5, seed=2))
    more = channel_crops(ChannelsParams(n_train=9, n_validation=3, n_test=4, sand_proportion=0.5, seed=2))
    assert few.crops.dtype == np.uint16
    assert few.crops.shape == (13, 3, 64, 128)
    assert list(few.table.columns) == ["split", "volume", "slice", "row", "column", "seed"]
    assert list(few.table["slice"]) == list(range(13))
    assert np.array_equal(few.validation, more.validation)
    assert np.array_equal(few.test, more.test)
    for one, other in combinations((few.train, few.validation, few.test), 2):
        assert not np.array_equal(one[:3], other[:3])


@pytest.mark.parametrize(("n", "sand_proportion"), [(0, 0.5), (3, 0.0), (3, 1.0)])
def test_an_impossible_request_is_refused(n: int, sand_proportion: float) -> None:
    with pytest.raises(ValueError, match="got"):
        channel_sections(n, np.random.default_rng(0), sand_proportion)


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published realisation is not beside the project")
def test_the_published_realisation_could_be_one_of_ours() -> None:
    published = np.load(PUBLISHED, allow_pickle=False).swapaxes(1, 2)
    sand = published[FACIES] > 0.5
    proportion = IS_SAND.mean(axis=(1, 2))
    assert proportion.min() <= sand.mean() <= proportion.max()
    for channel in (POROSITY, DENSITY):
        for ours, theirs in ((~IS_SAND, ~sand), (IS_SAND, sand)):
            means = np.array([s[channel][mask].mean() for s, mask in zip(SECTIONS, ours, strict=True)])
            assert abs(published[channel][theirs].mean() - means.mean()) < 4 * means.std()
