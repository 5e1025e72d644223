from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from rockbank.data.manifest import Manifest, VolumeError, load_manifest, save_manifest
from rockbank.data.stored import open_volumes
from rockbank.data.synthetic.shale import BEDDING, NOISE, VOXEL_SIZE, _random_field, sample_volume, write_sample
from rockbank.rock.correlation import two_point_correlation
from rockbank.rock.segmentation import otsu_threshold, smooth

SLICES = sample_volume(np.random.default_rng(3), n_slices=3, size=512)
REAL = Path(__file__).parents[2].parent / "shared" / "data" / "rocks" / "shale_fibsem" / "shale_for_alignment00.tif"


def pores(grey: np.ndarray) -> np.ndarray:
    smoothed = smooth(grey / 255.0, 1.5)
    return smoothed <= otsu_threshold(smoothed)


def test_a_seed_makes_one_volume() -> None:
    again = sample_volume(np.random.default_rng(3), n_slices=3, size=512)
    other = sample_volume(np.random.default_rng(4), n_slices=1, size=512)
    assert np.array_equal(SLICES, again)
    assert not np.array_equal(SLICES[0], other[0])
    assert SLICES.dtype == np.uint8


def test_slices_are_independent_draws() -> None:
    # 512^2 pixels in features of about 10^2 leave a correlation of 1 / sqrt(2600) = 0.02; four of those.
    smoothed = [gaussian_filter(each.astype(float), 2).ravel() for each in SLICES]
    assert abs(np.corrcoef(smoothed[0], smoothed[1])[0, 1]) < 0.08


def test_a_random_field_has_its_covariance_along_and_across_the_bedding() -> None:
    # Filtering by exp(-(k l)^2 / 4) gives the covariance exp(-(r / l)^2 / 2); the mean of 40 fields errs by 0.05.
    fields = [_random_field(np.random.default_rng(seed), 256, 24.0, 6.0) for seed in range(40)]
    assert np.mean([field.std() for field in fields]) == pytest.approx(1.0, abs=1e-12)
    for along, across in ((24.0, 0.0), (0.0, 6.0)):
        dx = round(along * np.cos(BEDDING) - across * np.sin(BEDDING))
        dy = round(along * np.sin(BEDDING) + across * np.cos(BEDDING))
        covariance = np.mean([(field * np.roll(field, (-dy, -dx), (0, 1))).mean() for field in fields])
        assert covariance == pytest.approx(np.exp(-0.5), abs=0.08)


def test_otsu_finds_the_dark_phase_of_a_shale() -> None:
    # The band is the real scan's 6 % and the sample's 9 % with the spread of single slices.
    porosity = [pores(each).mean() for each in SLICES]
    assert min(porosity) > 0.03
    assert max(porosity) < 0.16


def test_cracks_and_lamination_follow_the_bedding() -> None:
    pore = np.concatenate([pores(each) for each in SLICES])
    along = (pore[:, 8:] & pore[:, :-8]).mean()
    across = np.mean([(p[8:] & p[:-8]).mean() for p in map(pores, SLICES)])
    assert along > 1.1 * across


def test_ores_are_bright_and_rare() -> None:
    assert 0.001 < (SLICES > 190).mean() < 0.01


def test_pixel_noise_has_its_standard_deviation() -> None:
    # The difference of diagonal neighbours is noise of variance 4 where the rock is smooth; its median ignores edges.
    grey = SLICES.astype(float) / 255
    second = grey[:, 1:, 1:] - grey[:, 1:, :-1] - grey[:, :-1, 1:] + grey[:, :-1, :-1]
    assert 1.4826 * np.median(np.abs(second)) / 2 == pytest.approx(NOISE, rel=0.1)


def test_the_sample_is_a_multipage_tiff_with_its_manifest(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("rockbank.data.synthetic.shale.sample_volume", lambda rng, track: SLICES)
    written = write_sample(tmp_path / "data", seed=3)
    manifest = load_manifest(tmp_path / "data")
    assert manifest == written
    assert manifest.voxel_size == VOXEL_SIZE
    with open_volumes(tmp_path / "data", manifest) as volumes:
        assert np.array_equal(volumes["shale.tif"], SLICES)
    with tifffile.TiffFile(tmp_path / "data" / "shale.tif") as tiff:
        assert len(tiff.pages) == 3


def test_the_sample_takes_the_place_of_a_sample_and_of_others_only_where_that_is_wanted(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("rockbank.data.synthetic.shale.sample_volume", lambda rng, track: SLICES)
    data = tmp_path / "data"
    own = write_sample(data, seed=3).volumes[0]
    # The sample that the repository has, of a version in which the function lay elsewhere.
    save_manifest(data, Manifest(volumes=(replace(own, source="synthetic: rockbank.shale.write_sample, seed 20"),)))
    assert write_sample(data, seed=4).volumes[0].source.endswith("seed 4")
    save_manifest(data, Manifest(volumes=(replace(own, source="the core library"),)))
    before = (data / "manifest.yaml").read_bytes()
    with pytest.raises(VolumeError, match=r"manifest\.yaml: lists shale\.tif, which the sample would replace"):
        write_sample(data, seed=3)
    assert (data / "manifest.yaml").read_bytes() == before
    assert write_sample(data, seed=3, replace=True) == load_manifest(data)
    (data / "manifest.yaml").unlink()
    with pytest.raises(VolumeError, match=r"shale\.tif: lies there, and no manifest lists it"):
        write_sample(data, seed=3, replace=True)


@pytest.mark.parametrize(("n_slices", "size"), [(0, 256), (1, 32)])
def test_too_small_a_volume_is_refused(n_slices: int, size: int) -> None:
    with pytest.raises(ValueError, match="got"):
        sample_volume(np.random.default_rng(0), n_slices=n_slices, size=size)


@pytest.mark.skipif(not REAL.is_file(), reason="the real shale scan is not beside the project")
def test_the_sample_resembles_a_real_shale() -> None:
    real = tifffile.imread(REAL)
    curves = [
        np.mean([two_point_correlation(pores(each)) for each in stack], axis=0)[:33]
        for stack in ([real[:1024, :1024]], SLICES)
    ]
    # Scaled to the covariance of the phase: both decay within tens of pixels, 0.2 apart at most.
    scaled = [(c - c[0] ** 2) / (c[0] - c[0] ** 2) for c in curves]
    assert np.abs(scaled[0] - scaled[1]).max() < 0.2
    assert abs(np.median(real) - np.median(SLICES)) < 6
