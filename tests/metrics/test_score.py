import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from rockbank.generator.card import headline
from rockbank.metrics.features import Extractor
from rockbank.metrics.score import embed_real, progress_evaluator, score
from rockbank.rock.correlation import two_point_curves
from rockbank.rock.segmentation import Segmentation, segment

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
        assert set(distances["network_free"]["inside_band"]) == {"s2", "lineal_path", "spectrum"}
        assert distances["second_extractor"] is None
    for statistic in ("porosity", "specific_surface", "connectivity"):
        assert set(found[statistic]) == {"real", "generated"}


def mean_embed(images):
    """Four means: another extractor."""
    return torch.nn.functional.adaptive_avg_pool2d(images[:, :1].float() / 255, 2).flatten(1)


COARSE = Extractor("coarse/4", mean_embed, torch.device("cpu"))


def test_a_second_extractor_stands_beside_and_has_the_scores_that_it_has_as_the_first():
    both, alone = run(second=COARSE), run(extractor=COARSE)
    assert both["second_extractor"] == {"extractor": "coarse/4", **alone["large"]}
    assert both["real_against_real"]["second_extractor"]["fid"] == alone["real_against_real"]["large"]["fid"]
    assert both["large"] == run()["large"]


def test_features_made_before_give_the_same_scores():
    train, test = rock(150, 1), rock(80, 2)
    made = {
        each.name: embed_real(train=train, test=test, extractor=each, n_large=N_LARGE, seed=4, progress=False)
        for each in (TINY, COARSE)
    }

    def only_generated(images):
        seen.append(len(images))
        return embed(images)

    seen = []
    counting = Extractor(TINY.name, only_generated, TINY.device)
    assert run(extractor=counting, second=COARSE, real_features=made) == run(second=COARSE)
    assert sum(seen) == N_LARGE


def test_samples_of_the_same_law_are_inside_the_bands_but_for_chance_and_a_worse_generator_is_not():
    good, bad = run(), run(generated=rock(70, 3, roughness=5.0))
    # Each of the bands leaves out one set in 20, mostly at a few lags; test_bands counts them.
    assert min(good["network_free"]["inside_band"].values()) > 0.8
    assert min(good["real_against_real"]["network_free"]["inside_band"].values()) > 0.8
    assert max(bad["network_free"]["inside_band"].values()) < 0.5
    for name in ("spectrum_distance", "lineal_path_distance"):
        assert bad["network_free"][name] > 2 * good["network_free"][name]


def test_rock_that_is_too_bright_is_seen_by_its_grey_values():
    found = run(generated=np.clip(rock(70, 3) + np.float32(0.1), 0, 1))["network_free"]
    assert found["grey_distance"] == pytest.approx(0.1, abs=0.01)
    assert found["porosity_ratio"] < 0.5


def test_crops_that_resemble_each_other_widen_the_bands():
    blocks = {"training": np.arange(150) // 50, "test": np.arange(80) // 27}
    level = np.random.default_rng(0).uniform(-0.1, 0.1, 3).astype(np.float32)
    shifted = {
        "train": rock(150, 1) + level[blocks["training"]][:, None, None, None],
        "test": rock(80, 2) + level[blocks["test"]][:, None, None, None],
    }
    alone, together = run(**shifted), run(**shifted, blocks=blocks)
    assert together["n_blocks"] == {"training": 3, "test": 3}
    widths = [np.subtract(found["curves"]["s2"]["high"], found["curves"]["s2"]["low"]) for found in (alone, together)]
    assert (widths[1] > 1.5 * widths[0]).all()


def test_rock_without_the_phase_has_no_ratios():
    bright = {name: np.clip(rock(n, seed), 0.9, 1) for name, n, seed in (("train", 150, 1), ("test", 80, 2))}
    found = json.loads(json.dumps(run(**bright), allow_nan=False))
    assert found["network_free"]["porosity_ratio"] is None


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


def test_collapse_and_copies_are_distinguished():
    collapsed = np.repeat(rock(1, 9), 70, axis=0)
    copies = rock(150, 1)[:70]
    assert run(generated=collapsed)["diversity"] == pytest.approx(0.0, abs=1e-3)  # single precision
    assert run(generated=copies)["memorisation"] == 0.0
    assert run(generated=copies)["diversity"] > 0.8


def test_fewer_samples_than_requested_are_counted():
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
