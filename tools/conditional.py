"""What samples of a wanted porosity are worth: python -m tools.conditional [GENERATOR]

Measures them against test crops of that porosity, and writes docs/validation/conditional.json and the page beside it.
Without a name it measures shale-texture; the generator has to be exported (`dvc pull`, or `dvc repro export@NAME`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32
from torch import Tensor

from rockbank.core.files import sha256, write_json, write_text
from rockbank.core.paths import PIPELINE
from rockbank.generator.card import ModelCard
from rockbank.generator.conditional import MAX_TRIES, TOLERANCE, Condition, accepted, parse_condition
from rockbank.generator.sampler import Sampler
from rockbank.metrics.features import Extractor, features, make_extractor
from rockbank.metrics.kid import kid
from rockbank.params import load_params
from rockbank.rock.bands import blocks_of
from rockbank.rock.correlation import s2_distance, two_point_curves
from rockbank.rock.crops import CropSet, load_crops, to_intensity
from rockbank.rock.descriptors import porosity
from rockbank.rock.segmentation import segment

GENERATOR = "shale-texture"
RECORD = Path("docs/validation/conditional.json")
PAGE = RECORD.with_suffix(".md")
# Samples, and crops, of one KID; a third of the 1100 test crops is a little more.
N = 300
# Each has samples of its own seed, and crops chosen anew.
SEEDS = range(1, 9)
# Of the test crops' porosity: the intervals have as many crops each.
N_INTERVALS = 3
SINGLE = (0.05, 0.1, 0.2)
N_SINGLE = 100
# The whole range of a fraction, as an interval that every sample meets.
EVERYTHING = Condition(statistic="porosity", low=0.0, high=1.0)
BAR = 1.2
TEXT = """# Samples of a wanted porosity

`python -m tools.conditional` wrote this page, for {generator} with the weights of SHA-256 {weights:.12}, which
`rockbank show` and a version's card tell too: later weights are not measured here.
`rockbank sample --porosity` and the service keep those of a seed's samples whose porosity lies in the interval
(`src/rockbank/generator/conditional.py`): the generator's own law, given the interval.

## Against real crops of that porosity

The {n_test} test crops have porosities of {low:.3f} to {high:.3f}; the intervals hold as many of them each, and the
last is all of them. KID is that of {extractor}, of {n} samples against {n} of the test crops in the interval; mean and
standard error over {n_seeds} draws of both. A draw takes no crop twice, but draws share crops, and crops
overlap: the error is that of the draw, not of the rock, which has as many blocks as the table says. Training crops in
the interval, in the place of samples, say how far the two halves of the rock themselves are apart. Ratio: over the KID
of all samples against all test crops.

{intervals}
The KID of samples of an interval is {mean_ratio:.2f} of that of all samples on average, and {worst_ratio:.2f} at worst;
the bar is {bar}.

Rejection leaves the generator's law as it is. So a ratio above the bar says that the generator is worse at such rock
than on the whole, or that training and test rock are less alike there (the column of training crops). KID is a
squared distance between mean features, hence convex: where the generator has the intervals as often as the rock does,
that of all samples is at most the mean of the intervals', and less wherever what is wrong in one is not wrong in
another. The mean ratio is thus about 1 or above.

## A single value

`--porosity 0.12` means 0.11 to 0.13, so the error is at most {tolerance:g}. {n_single} samples of each value, by seed
{first_seed}: the error is of the porosity of each from the wanted value.

{single}
"""


def main(name: str) -> None:
    """Measure, and write the record and the page."""
    measured = measure(name)
    write_json(RECORD, measured)
    write_text(PAGE, page(measured))
    print(PAGE)


def measure(name: str) -> dict[str, Any]:
    """KID in each interval and of everything, and the error and the price of single values."""
    params, folder = load_params(), PIPELINE.export(name)
    card = ModelCard.load(folder)
    card.verify(folder)
    crop_set = load_crops(PIPELINE.crops(card.family))
    extractor = make_extractor(params.score.extractor, params.score.inception_weights)
    found = porosity(segment(to_intensity(crop_set.test), card.segmentation))
    edges = np.quantile(found, np.linspace(0, 1, N_INTERVALS + 1))
    conditions = [
        *(Condition(statistic="porosity", low=float(low), high=float(high)) for low, high in pairwise(edges)),
        EVERYTHING,
    ]
    run = _Measurement(Sampler(folder, card), card, crop_set, extractor)
    return {
        "generator": name,
        "weights_sha256": sha256(folder / "weights.safetensors"),
        "extractor": extractor.name,
        "n": N,
        "n_single": N_SINGLE,
        "seeds": list(SEEDS),
        "n_test": len(found),
        "porosity": [float(found.min()), float(found.max())],
        "intervals": [run.interval(condition) for condition in conditions],
        "single": [run.single(value) for value in SINGLE],
    }


class _Measurement:
    """One generator beside the crops of its family; features of crops are made once."""

    def __init__(self, sampler: Sampler, card: ModelCard, crop_set: CropSet, extractor: Extractor) -> None:
        self._sampler, self._segmentation, self._extractor = sampler, card.segmentation, extractor
        table = crop_set.table
        self._blocks = blocks_of(table[table["split"] == "test"], crop_set.test.shape[-1])
        self._rock = {"test": to_intensity(crop_set.test), "training": to_intensity(crop_set.train)}
        self._porosity = {each: porosity(segment(rock, card.segmentation)) for each, rock in self._rock.items()}
        self._of_test = features(self._rock["test"], extractor)

    def interval(self, condition: Condition) -> dict[str, Any]:
        """Samples, and training crops, of an interval against its test crops."""
        inside = {
            each: np.flatnonzero((condition.low <= values) & (values <= condition.high))
            for each, values in self._porosity.items()
        }
        rows = [self._draw(condition, inside, seed) for seed in SEEDS]
        print(condition, *rows, sep="\n  ", flush=True)
        return {
            "low": condition.low,
            "high": condition.high,
            "n_test": len(inside["test"]),
            "n_blocks": len(np.unique(self._blocks[inside["test"]])),
            **{key: [row[key] for row in rows] for key in rows[0]},
        }

    def _draw(self, condition: Condition, inside: dict[str, Any], seed: int) -> dict[str, float]:
        rng = np.random.default_rng(seed)
        real = rng.choice(inside["test"], N, replace=False)
        learnt = rng.choice(inside["training"], N, replace=False)
        samples, n_tried = self._samples(condition, seed, N)
        pores = segment(samples, self._segmentation)

        def kid_of(rock: Tensor) -> float:
            return kid(self._of_test[real], rock, seed).mean

        curves = two_point_curves(segment(self._rock["test"][real], self._segmentation))
        return {
            "kid": kid_of(features(samples, self._extractor)),
            "kid_training": kid_of(features(self._rock["training"][learnt], self._extractor)),
            "s2_distance": s2_distance(curves, two_point_curves(pores)),
            "porosity_real": float(self._porosity["test"][real].mean()),
            "porosity": float(porosity(pores).mean()),
            "tries": n_tried / N,
        }

    def single(self, value: float) -> dict[str, float]:
        """Samples of one value: how far they are from it, and how many were tried."""
        samples, n_tried = self._samples(parse_condition("porosity", value), SEEDS[0], N_SINGLE)
        error = np.abs(porosity(segment(samples, self._segmentation)) - value)
        return {
            "value": value,
            "mean_error": float(error.mean()),
            "error": float(error.max()),
            "tries": n_tried / N_SINGLE,
        }

    def _samples(self, condition: Condition, seed: int, n: int) -> tuple[Float32[np.ndarray, "n c h w"], int]:
        """The first `n` samples of a seed that meet the condition, and how many samples it took."""
        batches = self._sampler.batches(seed, n * MAX_TRIES)
        places, samples = zip(*accepted(batches, condition, self._segmentation, n), strict=True)
        return np.stack(samples), places[-1] + 1


def page(measured: dict[str, Any]) -> str:
    """The page of a record."""
    *parts, everything = measured["intervals"]
    ratios = [np.mean(part["kid"]) / np.mean(everything["kid"]) for part in parts]
    rows = [
        {
            "porosity": "all" if part is everything else f"{part['low']:.3f} to {part['high']:.3f}",
            "test crops": part["n_test"],
            "blocks": part["n_blocks"],
            "KID": with_error(part["kid"]),
            "of training crops": with_error(part["kid_training"]),
            "ratio": f"{np.mean(part['kid']) / np.mean(everything['kid']):.2f}",
            "S2 distance": with_error(part["s2_distance"]),
            "mean porosity": f"{np.mean(part['porosity']):.4f}",
            "of the crops": f"{np.mean(part['porosity_real']):.4f}",
            "tries a sample": f"{np.mean(part['tries']):.1f}",
        }
        for part in measured["intervals"]
    ]
    single = [
        {
            "porosity": f"{each['value']:g}",
            "mean error": f"{each['mean_error']:.4f}",
            "largest error": f"{each['error']:.4f}",
            "tries a sample": f"{each['tries']:.1f}",
        }
        for each in measured["single"]
    ]
    return TEXT.format(
        generator=measured["generator"],
        weights=measured["weights_sha256"],
        n_test=measured["n_test"],
        low=measured["porosity"][0],
        high=measured["porosity"][1],
        extractor=measured["extractor"],
        n=measured["n"],
        n_single=measured["n_single"],
        n_seeds=len(measured["seeds"]),
        first_seed=measured["seeds"][0],
        intervals=markdown(rows),
        mean_ratio=np.mean(ratios),
        worst_ratio=max(ratios),
        bar=BAR,
        tolerance=TOLERANCE["porosity"],
        single=markdown(single),
    )


def with_error(values: Sequence[float]) -> str:
    """The mean and its standard error."""
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.4f}"


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A table, numbers to the right."""
    table = pd.DataFrame(rows)
    lines = [list(map(str, table.columns)), ["---", *["---:"] * (len(table.columns) - 1)]]
    lines += [[str(value) for value in record] for record in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main(*(sys.argv[1:] or [GENERATOR]))
