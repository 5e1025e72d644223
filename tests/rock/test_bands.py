import numpy as np
import pandas as pd
import pytest

from rockbank.rock.bands import N_BLOCKS_MIN, Curves, blocks_of, bootstrap_band

N_BLOCKS, N_CROPS, N_SAMPLES, N_LAGS = 60, 240, 240, 17
N_WORLDS = 200


class Region:
    """A finite piece of a rock whose law is known: blocks differ, and crops of one block resemble each other."""

    def __init__(self, rng):
        self.rng = rng
        # Random walks over the lags: neighbouring lags err together, as those of S2 do.
        self.of_block = rng.standard_normal((N_BLOCKS, N_LAGS)).cumsum(axis=1)

    def crops(self, n):
        blocks = self.rng.integers(N_BLOCKS, size=n)
        own = self.rng.standard_normal((n, N_LAGS)).cumsum(axis=1)
        return Curves(values=1.0 + self.of_block[blocks] + own, blocks=blocks)


def coverage_of(level):
    """Tolerance of a fraction of about `level` in N_WORLDS tries: four standard errors."""
    return pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / N_WORLDS))


@pytest.fixture(scope="module")
def inside():
    """How often the samples of a generator that knows the training region's law are inside at every lag."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(N_WORLDS):
        real, learnt = (Region(rng) for _ in range(2))
        mean = learnt.crops(N_SAMPLES).values.mean(axis=0)
        real, learnt = real.crops(N_CROPS), learnt.crops(N_CROPS)
        alone = (Curves(values=each.values, blocks=np.arange(N_CROPS)) for each in (real, learnt))
        band = bootstrap_band(real, learnt, N_SAMPLES, rng, n_bootstraps=300)
        found.append(
            {
                "95 %": band.contains(mean).all(),
                "60 %": bootstrap_band(real, learnt, N_SAMPLES, rng, 0.6, n_bootstraps=300).contains(mean).all(),
                "single crops": bootstrap_band(*alone, N_SAMPLES, rng, n_bootstraps=300).contains(mean).all(),
                "shifted": band.contains(mean + 0.9).all(),
            }
        )
    return pd.DataFrame(found).mean()


@pytest.mark.slow
def test_a_generator_that_knows_the_training_rock_is_inside_at_every_lag_95_times_in_100(inside):
    assert inside["95 %"] == coverage_of(0.95)


@pytest.mark.slow
def test_the_level_is_the_part_that_lies_inside(inside):
    assert inside["60 %"] == coverage_of(0.6)


@pytest.mark.slow
def test_a_bootstrap_of_single_crops_would_be_far_too_narrow(inside):
    assert inside["single crops"] < 0.8


@pytest.mark.slow
def test_a_generator_off_by_the_deviation_of_a_block_is_outside_more_often_than_not(inside):
    assert inside["shifted"] < 0.5


def test_the_band_shrinks_as_regions_grow_and_lies_about_the_held_out_mean():
    rng = np.random.default_rng(0)
    small, large = Region(rng).crops(60), Region(rng).crops(4000)
    narrow, wide = (bootstrap_band(curves, curves, 10_000, rng) for curves in (large, small))
    np.testing.assert_allclose((narrow.low + narrow.high) / 2, large.values.mean(axis=0))
    assert ((narrow.high - narrow.low) < (wide.high - wide.low)).all()


def test_fewer_samples_have_a_wider_band():
    rng = np.random.default_rng(0)
    real, learnt = Region(rng).crops(N_CROPS), Region(rng).crops(N_CROPS)
    few, many = (bootstrap_band(real, learnt, n, rng) for n in (5, 5000))
    assert ((few.high - few.low) > 2 * (many.high - many.low)).all()


def test_a_lag_without_variation_leaves_one_value_and_does_not_touch_the_others():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 3))
    values[:, 1] = 0.25
    band = bootstrap_band(
        Curves(values=values, blocks=np.arange(50)), Curves(values=values, blocks=np.arange(50)), 50, rng
    )
    assert band.low[1] == band.high[1] == 0.25
    assert band.contains(values.mean(axis=0)).all()
    assert (band.low < band.high)[[0, 2]].all()


def test_the_unit_of_the_curves_changes_nothing():
    rng = np.random.default_rng(0)
    real, learnt = Region(rng).crops(N_CROPS), Region(rng).crops(N_CROPS)
    scale = 2.0 ** np.arange(-8, 9)  # powers of two, so that no bit is rounded
    scaled = [Curves(values=scale * curves.values, blocks=curves.blocks) for curves in (real, learnt)]
    band, other = (bootstrap_band(*curves, N_SAMPLES, np.random.default_rng(1)) for curves in ((real, learnt), scaled))
    np.testing.assert_array_equal(scale * band.low, other.low)
    np.testing.assert_array_equal(scale * band.high, other.high)


def corners(n_rows, n_columns, n_slices=3, step=32):
    """Crops of 64 pixels at every `step` of a volume."""
    places = [
        ("a", i, row, column)
        for i in range(n_slices)
        for row in range(0, n_rows, step)
        for column in range(0, n_columns, step)
    ]
    return pd.DataFrame(places, columns=["volume", "slice", "row", "column"])


def test_a_block_is_a_tile_two_crops_wide_through_all_slices_of_its_volume():
    table = corners(512, 512)
    blocks = blocks_of(table, 64)
    assert len(np.unique(blocks)) == 16
    of_tile = table.assign(block=blocks).groupby([table["row"] // 128, table["column"] // 128])
    assert (of_tile["block"].nunique() == 1).all()
    assert (of_tile["slice"].nunique() == 3).all()
    two = pd.concat([table, table.assign(volume="b")], ignore_index=True)
    assert len(np.unique(blocks_of(two, 64))) == 32


@pytest.mark.parametrize(("n_rows", "n_columns", "wanted"), [(256, 256, 16), (128, 128, 12), (64, 64, 12)])
def test_a_small_region_has_smaller_blocks(n_rows, n_columns, wanted):
    table = corners(n_rows, n_columns)
    assert wanted >= N_BLOCKS_MIN
    assert len(np.unique(blocks_of(table, 64))) == wanted


def test_curves_without_a_block_of_each_or_all_in_one_block_are_an_error():
    with pytest.raises(ValueError, match="give the block of each curve"):
        Curves(values=np.zeros((3, 2)), blocks=np.arange(2))
    with pytest.raises(ValueError, match="at least 2"):
        Curves(values=np.zeros((3, 2)), blocks=np.zeros(3, int))
