import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from rockbank.card import headline
from rockbank.metrics.features import Extractor
from rockbank.metrics.score import progress_evaluator, score
from rockbank.morphology import Segmentation, segment, two_point_curves

SEGMENTATION = Segmentation(smoothing=1.0, threshold=0.45, phase="below")
N_PAPER, N_LARGE = 20, 60


def embed(images):
    """Sixteen means of blocks of the first channel: a law simple enough to reason about."""
    return torch.nn.functional.adaptive_avg_pool2d(images[:, :1].float() / 255, 4).flatten(1)


TINY = Extractor("tiny/16", embed, torch.device("cpu"))


def rock(n, seed, roughness=1.5, c=1):
    noise = np.random.default_rng(seed).standard_normal((n, c, 32, 32))
    smooth = ndimage.gaussian_filter(noise, (0, 0, roughness, roughness))
    return np.clip(0.5 + 0.15 * smooth / smooth.std(), 0, 1).astype(np.float32)


def run(generated=None, **keywords):
    settings = {
        "train": rock(150, 1),
        "test": rock(80, 2),
        "generated": rock(70, 3) if generated is None else generated,
        "segmentation": SEGMENTATION,
        "extractor": TINY,
        "n_paper": N_PAPER,
        "n_large": N_LARGE,
        "seed": 4,
        "progress": False,
    }
    return score(**{**settings, **keywords})


def test_every_score_is_json_and_says_its_extractor_and_counts():
    found = json.loads(json.dumps(run(), allow_nan=False))
    assert found["extractor"] == "tiny/16"
    for distances in (found, found["real_against_real"]):
        assert distances["paper"]["n"] == N_PAPER
        assert distances["large"]["n"] == N_LARGE
        assert distances["large"]["kid_subset_size"] == N_LARGE // 2
        assert {"fid_infinity", "s2_distance", "s2_distance_radial"} <= set(distances)
    for statistic in ("porosity", "specific_surface", "connectivity"):
        assert set(found[statistic]) == {"real", "generated"}


def test_the_gate_finds_the_scores_that_it_weighs():
    assert set(headline(run())) == {"fid", "kid", "s2_distance", "diversity", "memorisation"}


def test_the_same_seed_gives_the_same_scores_and_another_one_others():
    assert run() == run()
    assert run(seed=5)["large"]["fid"] != run()["large"]["fid"]


def test_a_generator_of_the_same_law_scores_as_real_rock_does():
    found = run()
    real = found["real_against_real"]
    assert found["large"]["fid"] == pytest.approx(real["large"]["fid"], rel=0.5)  # chance, 60 samples
    assert abs(found["large"]["kid"]) < 3 * found["large"]["kid_std"]
    assert found["s2_distance"] < found["s2_spread_real"]
    assert found["diversity"] == pytest.approx(1.0, abs=0.15)
    assert found["memorisation"] == pytest.approx(1.0, abs=0.1)
    assert found["porosity"]["generated"] == pytest.approx(found["porosity"]["real"], abs=0.05)


def test_a_worse_generator_scores_worse_in_every_way():
    good, bad = run(), run(generated=rock(70, 3, roughness=5.0) * np.float32(0.8))
    assert bad["large"]["fid"] > good["large"]["fid"]
    assert bad["large"]["kid"] > good["large"]["kid"]
    assert bad["s2_distance"] > good["s2_distance"]
    assert bad["s2_distance_radial"] > good["s2_distance_radial"]
    assert bad["specific_surface"]["generated"] < good["specific_surface"]["generated"]


def test_collapse_and_copies_are_told_apart():
    collapsed = np.repeat(rock(1, 9), 70, axis=0)
    copies = rock(150, 1)[:70]
    assert run(generated=collapsed)["diversity"] == pytest.approx(0.0, abs=1e-3)  # single precision
    assert run(generated=copies)["memorisation"] == 0.0
    assert run(generated=copies)["diversity"] > 0.8


def test_fewer_samples_than_asked_for_are_counted():
    found = run(test=rock(15, 2))
    assert found["paper"]["n"] == found["large"]["n"] == 15


def test_integers_score_as_the_intensity_they_stand_for():
    crops = {
        name: np.round(rock(n, seed) * 255).astype(np.uint8) for name, n, seed in (("train", 150, 1), ("test", 80, 2))
    }
    as_intensity = {name: part.astype(np.float32) / np.float32(255) for name, part in crops.items()}
    assert run(**crops) == run(**as_intensity)


def test_sets_that_cannot_be_compared_are_an_error():
    with pytest.raises(ValueError, match="differ in shape"):
        run(generated=rock(70, 3, c=3))
    with pytest.raises(ValueError, match="too few"):
        run(generated=rock(3, 3))


def test_progress_scores_are_those_of_the_validation_crops():
    validation, generated = rock(64, 2), rock(64, 3, roughness=4.0)
    evaluate = progress_evaluator(validation, SEGMENTATION, TINY)
    found = evaluate(generated)
    assert set(found) == {"kid", "s2_distance"}
    assert found == evaluate(generated)
    curves = [two_point_curves(segment(part, SEGMENTATION)).mean(axis=0) for part in (validation, generated)]
    assert found["s2_distance"] == pytest.approx(float(np.sqrt(np.mean((curves[0] - curves[1]) ** 2))), rel=1e-12)
    assert evaluate(rock(64, 5))["kid"] < found["kid"]
