"""All scores of one generator, each beside its sample count, and those that go with its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt
from torch import Tensor

from rockbank.crops import to_intensity
from rockbank.metrics.coverage import diversity, memorisation
from rockbank.metrics.features import Extractor, features
from rockbank.metrics.frechet import frechet_distance, frechet_infinity
from rockbank.metrics.kernel import kernel_distance
from rockbank.morphology import (
    Segmentation,
    connectivity,
    porosity,
    s2_distance,
    s2_spread,
    segment,
    specific_surface,
    two_point_curves,
)

Rock = Float[np.ndarray, "n c h w"] | UInt[np.ndarray, "n c h w"]


def score(
    *,
    train: Rock,
    holdout: Rock,
    generated: Rock,
    segmentation: Segmentation,
    extractor: Extractor,
    n_paper: int,
    n_large: int,
    seed: int,
    real_features: Mapping[str, Float[Tensor, "n d"]] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Scores of `generated` against held-out rock, and of training rock against the same as the row of two real sets.

    Args:
        train: every training crop; intensity in [0, 1], or unsigned integers whose full scale is 1.
        holdout: crops of which the generator saw no pixel.
        generated: the generator's samples.
        segmentation: how the phase of interest is found in all three.
        extractor: of the features.
        n_paper: samples of each set in the paper's protocol, 100.
        n_large: samples of each set elsewhere; fewer where a set has fewer, and `n` says so.
        seed: of the choice of samples and of KID's subsets.
        real_features: from `embed_real` with the same crops, extractor, n_large and seed; None embeds the crops here.
        progress: whether bars on stderr show the embedding.

    Returns:
        JSON-ready: extractor, seed; paper and large (n, fid, kid, kid_std, kid_subset_size; KID raw);
        fid_infinity; s2_distance and s2_distance_radial; porosity, specific_surface (1/pixel) and
        connectivity of real and generated; diversity; memorisation; and, under real_against_real,
        the distances again with training crops in the generator's place.

    Raises:
        ValueError: where a set has fewer than 4 samples, or the sets differ in shape.
    """
    _check(train, holdout, generated)
    n = min(n_large, len(train), len(holdout), len(generated))
    rng = np.random.default_rng(seed)
    sets = {
        "training": _pick(train, n, rng),
        "held-out": _pick(holdout, n, rng),
        "generated": _pick(generated, n, rng),
    }
    known_features = {} if real_features is None else real_features
    embedded = {
        name: known_features[name][:n] if name in known_features else _embed(name, rock, extractor, progress)
        for name, rock in sets.items()
    }
    phase = {name: segment(rock, segmentation) for name, rock in sets.items()}
    real, fake, known = (embedded[name] for name in ("held-out", "generated", "training"))
    pores, fake_pores, known_pores = (phase[name] for name in ("held-out", "generated", "training"))
    return {
        "extractor": extractor.name,
        "seed": seed,
        **_distances(real, fake, min(n_paper, n), seed),
        **_correlation(pores, fake_pores),
        "s2_spread_real": s2_spread(two_point_curves(pores)),
        "porosity": _means(porosity, pores, fake_pores),
        "specific_surface": _means(specific_surface, pores, fake_pores),
        "connectivity": _means(connectivity, pores, fake_pores),
        "diversity": diversity(real, fake),
        "memorisation": memorisation(train, sets["held-out"], sets["generated"]),
        "real_against_real": {**_distances(real, known, min(n_paper, n), seed), **_correlation(pores, known_pores)},
    }


def embed_real(
    *, train: Rock, holdout: Rock, extractor: Extractor, n_large: int, seed: int, progress: bool = True
) -> dict[str, Float[Tensor, "n d"]]:
    """Features of the real crops that `score` chooses by the same seed, so that many generators share them."""
    rng = np.random.default_rng(seed)
    sets = {"training": _pick(train, n_large, rng), "held-out": _pick(holdout, n_large, rng)}
    return {name: _embed(name, rock, extractor, progress) for name, rock in sets.items()}


def progress_evaluator(
    holdout: Rock, segmentation: Segmentation, extractor: Extractor, seed: int = 0
) -> Callable[[Float[np.ndarray, "n c h w"]], dict[str, float]]:
    """The scores to watch while training goes: KID and S2 distance of samples against `holdout`.

    The held-out crops are embedded and correlated once, here. 256 samples of 64 x 64 take 2 s on one core.

    Returns:
        From samples (intensity in [0, 1]) to kid and s2_distance.
    """
    real = features(holdout, extractor)
    curves = two_point_curves(segment(_intensity(holdout), segmentation))

    def evaluate(generated: Float[np.ndarray, "n c h w"]) -> dict[str, float]:
        fake_curves = two_point_curves(segment(generated, segmentation))
        return {
            "kid": kernel_distance(real, features(generated, extractor), seed).mean,
            "s2_distance": s2_distance(curves, fake_curves),
        }

    return evaluate


def _check(train: Rock, holdout: Rock, generated: Rock) -> None:
    shapes = {"train": train.shape, "holdout": holdout.shape, "generated": generated.shape}
    if len({shape[1:] for shape in shapes.values()}) > 1:
        raise ValueError(f"the sets differ in shape, {shapes}; score a generator on crops of its own size")
    if min(shape[0] for shape in shapes.values()) < 4:
        raise ValueError(f"too few samples, {shapes}; give at least 4 of each")


def _embed(name: str, rock: Rock, extractor: Extractor, progress: bool) -> Float[Tensor, "n d"]:
    return features(rock, extractor, progress=f"embedding {name} images" if progress else None)


def _pick(rock: Rock, n: int, rng: np.random.Generator) -> Float[np.ndarray, "m c h w"]:
    return _intensity(rock[rng.permutation(len(rock))[:n]])


def _intensity(rock: Rock) -> Float[np.ndarray, "n c h w"]:
    return to_intensity(rock) if np.issubdtype(rock.dtype, np.unsignedinteger) else rock


def _distances(real: Float[Tensor, "n d"], other: Float[Tensor, "n d"], n_paper: int, seed: int) -> dict[str, Any]:
    return {
        "paper": _protocol(real[:n_paper], other[:n_paper], seed),
        "large": _protocol(real, other, seed),
        "fid_infinity": frechet_infinity(real, other, seed),
    }


def _protocol(real: Float[Tensor, "n d"], other: Float[Tensor, "n d"], seed: int) -> dict[str, Any]:
    kid = kernel_distance(real, other, seed)
    return {
        "n": len(real),
        "fid": frechet_distance(real, other),
        "kid": kid.mean,
        "kid_std": kid.std,
        "kid_subset_size": kid.subset_size,
    }


def _correlation(pores: Bool[np.ndarray, "n h w"], other: Bool[np.ndarray, "n h w"]) -> dict[str, float]:
    return {
        "s2_distance": s2_distance(two_point_curves(pores), two_point_curves(other)),
        "s2_distance_radial": s2_distance(two_point_curves(pores, "radial"), two_point_curves(other, "radial")),
    }


def _means(
    statistic: Callable[[Bool[np.ndarray, "n h w"]], Float[np.ndarray, " n"]],
    real: Bool[np.ndarray, "n h w"],
    generated: Bool[np.ndarray, "n h w"],
) -> dict[str, float]:
    return {"real": float(statistic(real).mean()), "generated": float(statistic(generated).mean())}
