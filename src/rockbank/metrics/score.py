"""All scores of one generator, each beside its sample count, and those that go with its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.metrics.diversity import diversity, memorisation
from rockbank.metrics.features import Extractor, features
from rockbank.metrics.fid import fid, fid_infinity
from rockbank.metrics.kid import kid
from rockbank.metrics.network_free import Statistics, bands, compare, mean_curves
from rockbank.rock.correlation import s2_distance, s2_spread, two_point_curves
from rockbank.rock.crops import to_intensity
from rockbank.rock.segmentation import Segmentation, segment

Rock = Float[np.ndarray, "n c h w"] | UInt[np.ndarray, "n c h w"]
# From the name of a set, "training" or "test", to an array with a row a crop.
Features = Mapping[str, Float[Tensor, "n d"]]
Blocks = Mapping[str, Int[np.ndarray, " n"]]
REAL = ("training", "test")


def score(
    *,
    train: Rock,
    test: Rock,
    generated: Rock,
    segmentation: Segmentation,
    extractor: Extractor,
    n_paper: int,
    n_large: int,
    seed: int,
    second: Extractor | None = None,
    blocks: Blocks | None = None,
    real_features: Mapping[str, Features] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Scores of `generated` against test rock, and of training rock against the same as the row of two real sets.

    Args:
        train: every training crop; intensity in [0, 1], or unsigned integers whose full scale is 1.
        test: crops of which the generator saw no pixel, and by which none of its weights were chosen.
        generated: the generator's samples.
        segmentation: how the phase of interest is found in all three.
        extractor: of the features.
        n_paper: samples of each set in the paper's protocol, 100.
        n_large: samples of each set elsewhere; fewer where a set has fewer, and `n` says so.
        seed: of the choice of samples, of KID's subsets and of the bands' bootstrap.
        second: another extractor, whose FID and KID are reported beside; None leaves it out.
        blocks: of every training and test crop (see bands.blocks_of); None takes crops as independent.
        real_features: from an extractor's name to what `embed_real` gave with the same crops, n_large and seed; what
            is missing is embedded here.
        progress: whether bars on stderr show the embedding.

    Returns:
        JSON-ready: extractor, seed; paper and large (n, fid, kid, kid_std, kid_subset_size; KID raw);
        fid_infinity; s2_distance and s2_distance_radial; second_extractor (extractor, and as large), None without
        one; network_free, of network_free.compare; porosity, specific_surface (1/pixel) and connectivity of real and
        generated; diversity; memorisation; under real_against_real, the distances again with training crops in the
        generator's place; n_blocks of the bands; and curves, of network_free.mean_curves, for a picture.

    Raises:
        InputError: where a set has fewer than 4 samples, or the sets differ in shape.
    """
    _check(train, test, generated)
    n = min(n_large, len(train), len(test), len(generated))
    rng = np.random.default_rng(seed)
    choices = {
        name: _choose(len(rock), n, rng)
        for name, rock in (("training", train), ("test", test), ("generated", generated))
    }
    sets = {
        "training": _intensity(train[choices["training"]]),
        "test": _intensity(test[choices["test"]]),
        "generated": _intensity(generated[choices["generated"]]),
    }
    embedded = {
        each.name: _embed(sets, each, (real_features or {}).get(each.name, {}), progress)
        for each in (extractor, second)
        if each is not None
    }
    first = embedded[extractor.name]
    of = {name: Statistics.of(rock, segmentation) for name, rock in sets.items()}
    real, fake = of["test"], of["generated"]
    block_of = {name: choices[name] if blocks is None else blocks[name][choices[name]] for name in REAL}
    within = bands(real, of["training"], {"real": block_of["test"], "learnt": block_of["training"]}, n, seed)

    def against_real(name: str) -> dict[str, Any]:
        return {
            **_distances(first["test"], first[name], min(n_paper, n), seed),
            "s2_distance": s2_distance(real.s2, of[name].s2),
            "s2_distance_radial": s2_distance(real.s2_radial, of[name].s2_radial),
            "second_extractor": None if second is None else _beside(embedded[second.name], name, second, seed),
            "network_free": compare(real, of[name], within),
        }

    return {
        "extractor": extractor.name,
        "seed": seed,
        **against_real("generated"),
        "s2_spread_real": s2_spread(real.s2),
        "porosity": _means(real.porosity, fake.porosity),
        "specific_surface": _means(real.specific_surface, fake.specific_surface),
        "connectivity": _means(real.connectivity, fake.connectivity),
        "diversity": diversity(first["test"], first["generated"]),
        "memorisation": memorisation(train, sets["test"], sets["generated"]),
        "real_against_real": against_real("training"),
        "n_blocks": {name: len(np.unique(block_of[name])) for name in REAL},
        "curves": mean_curves(real, fake, within),
    }


def embed_real(
    *, train: Rock, test: Rock, extractor: Extractor, n_large: int, seed: int, progress: bool = True
) -> dict[str, Float[Tensor, "n d"]]:
    """Features of the real crops that `score` chooses by the same seed, so that many generators share them."""
    chosen = choose_real(len(train), len(test), n_large, seed)
    sets = {"training": _intensity(train[chosen["training"]]), "test": _intensity(test[chosen["test"]])}
    return _embed(sets, extractor, {}, progress)


def choose_real(n_train: int, n_test: int, n_large: int, seed: int) -> dict[str, Int[np.ndarray, " n"]]:
    """Which of the real crops `embed_real` embeds, in their order."""
    rng = np.random.default_rng(seed)
    return {name: _choose(n, n_large, rng) for name, n in (("training", n_train), ("test", n_test))}


def progress_evaluator(
    validation: Rock, segmentation: Segmentation, extractor: Extractor, seed: int = 0
) -> Callable[[Float[np.ndarray, "n c h w"]], dict[str, float]]:
    """The scores to watch while training goes: KID and S2 distance of samples against `validation`.

    The validation crops are embedded and correlated once, here. 256 samples of 64 x 64 take 2 s on one core.

    Returns:
        From samples (intensity in [0, 1]) to kid and s2_distance.
    """
    real = features(validation, extractor)
    curves = two_point_curves(segment(_intensity(validation), segmentation))

    def evaluate(generated: Float[np.ndarray, "n c h w"]) -> dict[str, float]:
        fake_curves = two_point_curves(segment(generated, segmentation))
        return {
            "kid": kid(real, features(generated, extractor), seed).mean,
            "s2_distance": s2_distance(curves, fake_curves),
        }

    return evaluate


def _check(train: Rock, test: Rock, generated: Rock) -> None:
    shapes = {"train": train.shape, "test": test.shape, "generated": generated.shape}
    if len({shape[1:] for shape in shapes.values()}) > 1:
        raise InputError(f"the sets differ in shape, {shapes}; score a generator on crops of its own size")
    if min(shape[0] for shape in shapes.values()) < 4:
        raise InputError(f"too few samples, {shapes}; give at least 4 of each")


def _choose(n_all: int, n: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    return rng.permutation(n_all)[:n]


def _embed(
    sets: Mapping[str, Float[np.ndarray, "n c h w"]], extractor: Extractor, known: Features, progress: bool
) -> dict[str, Float[Tensor, "n d"]]:
    return {
        name: known[name][: len(rock)]
        if name in known
        else features(rock, extractor, progress=f"embedding {name} images" if progress else None)
        for name, rock in sets.items()
    }


def _intensity(rock: Rock) -> Float[np.ndarray, "n c h w"]:
    return to_intensity(rock) if np.issubdtype(rock.dtype, np.unsignedinteger) else rock


def _distances(real: Float[Tensor, "n d"], other: Float[Tensor, "n d"], n_paper: int, seed: int) -> dict[str, Any]:
    return {
        "paper": _protocol(real[:n_paper], other[:n_paper], seed),
        "large": _protocol(real, other, seed),
        "fid_infinity": fid_infinity(real, other, seed),
    }


def _protocol(real: Float[Tensor, "n d"], other: Float[Tensor, "n d"], seed: int) -> dict[str, Any]:
    distance = kid(real, other, seed)
    return {
        "n": len(real),
        "fid": fid(real, other),
        "kid": distance.mean,
        "kid_std": distance.std,
        "kid_subset_size": distance.subset_size,
    }


def _beside(embedded: Features, name: str, extractor: Extractor, seed: int) -> dict[str, Any]:
    return {"extractor": extractor.name, **_protocol(embedded["test"], embedded[name], seed)}


def _means(real: Float[np.ndarray, " n"], generated: Float[np.ndarray, " m"]) -> dict[str, float]:
    return {"real": float(real.mean()), "generated": float(generated.mean())}
