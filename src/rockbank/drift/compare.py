"""Compare new raw scans with the rock that the generators learnt from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt

from rockbank.core.terminal import progress
from rockbank.data.grey_scale import PERCENTILES
from rockbank.drift.distances import (
    Distances,
    GreyScale,
    as_described,
    calibrate,
    calibrate_by_patches,
    described_values,
    distances,
    patches,
    phase_statistics,
    quick_distances,
)
from rockbank.drift.scans import Plan, Reference
from rockbank.rock.correlation import two_point_curves
from rockbank.rock.crops import CropSet, to_intensity
from rockbank.rock.descriptors import LAGS
from rockbank.rock.segmentation import Segmentation, segment

# Exit status where a distance is over its limit; 1 is an error and 2 a wrong use, as everywhere.
DRIFTED = 3
GREY_LEVELS = 256
# Statistics of so many crops at once, which bounds the memory.
CHUNK = 256
STATISTICS = {
    "grey": "grey values",
    "mean": "mean grey",
    "std": "contrast",
    "porosity": "porosity",
    "specific_surface": "surface",
    **{f"s2_{lag}": f"S2 at {lag} px" for lag in LAGS},
}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a set of crops is like.

    Attributes:
        values: by statistic, one a crop.
        grey: histogram of each crop's grey values.
        curves: S2 of each crop.
    """

    values: Mapping[str, Float[np.ndarray, " n"]]
    grey: Int[np.ndarray, "n levels"]
    curves: Float[np.ndarray, "n r"]

    def on_its_scale(
        self, chosen: Int[np.ndarray, " m"] | None = None
    ) -> tuple[dict[str, Float[np.ndarray, " m"]], GreyScale]:
        """The values of the chosen crops, or of all, with those of grey on the scale that these crops have."""
        values = {name: each if chosen is None else each[chosen] for name, each in self.values.items()}
        scale = GreyScale.of((self.grey if chosen is None else self.grey[chosen]).sum(axis=0), PERCENTILES)
        return {**values, "mean": scale.scaled(values["mean"]), "std": values["std"] / (scale.high - scale.low)}, scale


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One statistic of the new scans and of their reference.

    Attributes:
        new: mean of it.
        reference: likewise.
        distances: between the distributions.
        limits: what regions of the reference keep below.
    """

    new: float
    reference: float
    distances: Distances
    limits: Distances

    @property
    def is_over(self) -> bool:
        """Whether a distance is over its limit."""
        return self.distances.is_over(self.limits)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What came of it.

    Attributes:
        plan: that was carried out.
        profile: of the new scans.
        reference: profile of the training crops; None where only their statistics are there.
        compared: by statistic.
    """

    plan: Plan
    profile: Profile
    reference: Profile | None
    compared: Mapping[str, Compared]

    @property
    def over(self) -> list[str]:
        """The statistics that are over a limit."""
        return [name for name, each in self.compared.items() if each.is_over]


def run(plan: Plan) -> Drift:
    """Measure both, and how far apart they are."""
    reference, rng = plan.reference, np.random.default_rng(plan.request.seed)
    n = len(plan.new.crops) + (0 if reference.crops is None else len(reference.crops.crops))
    with progress("measuring crops", n) as advance:
        profile = _profile(plan.new.crops, plan.new.segmentation, advance)
        if reference.crops is None:
            compared = _compare_described(profile, reference, rng)
            return Drift(plan=plan, profile=profile, reference=None, compared=compared)
        known = _profile(reference.crops.crops, reference.segmentation, advance)
    # A region as large a part of the reference as the new scans would be.
    fraction = min(0.5, plan.n_voxels / reference.n_voxels)
    compared = _compare(profile, known, _limits(known, reference.crops, fraction, rng))
    return Drift(plan=plan, profile=profile, reference=known, compared=compared)


def _profile(
    crops: UInt[np.ndarray, "n 1 h w"], segmentation: Segmentation, advance: Callable[[float], None]
) -> Profile:
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(crops), CHUNK):
        intensity = to_intensity(np.asarray(crops[start : start + CHUNK]))
        pores = segment(intensity, segmentation)
        levels = np.round(intensity.reshape(len(intensity), -1) * (GREY_LEVELS - 1)).astype(np.intp)
        found = {
            "mean": intensity.mean(axis=(1, 2, 3), dtype=np.float64),
            "std": intensity.std(axis=(1, 2, 3), dtype=np.float64),
            **phase_statistics(pores),
            "grey": np.stack([np.bincount(each, minlength=GREY_LEVELS) for each in levels]),
            "curves": two_point_curves(pores),
        }
        for name, values in found.items():
            parts.setdefault(name, []).append(values)
        advance(len(intensity))
    whole = {name: np.concatenate(each) for name, each in parts.items()}
    grey, curves = whole.pop("grey"), whole.pop("curves")
    return Profile(values=whole, grey=grey, curves=curves)


def _limits(known: Profile, crops: CropSet, fraction: float, rng: np.random.Generator) -> dict[str, Distances]:
    volume, row, column = (crops.table[name].to_numpy() for name in ("volume", "row", "column"))

    def between(inside: Int[np.ndarray, " i"], outside: Int[np.ndarray, " o"]) -> dict[str, Distances]:
        (values, scale), (rest, rest_scale) = (known.on_its_scale(chosen) for chosen in (inside, outside))
        found = {name: quick_distances(each, np.sort(rest[name])) for name, each in values.items()}
        return {"grey": scale.distances(rest_scale), **found}

    return calibrate_by_patches(between, patches(volume, row, column, fraction, rng))


def _compare(new: Profile, known: Profile, limits: Mapping[str, Distances]) -> dict[str, Compared]:
    (values, scale), (wanted, wanted_scale) = new.on_its_scale(), known.on_its_scale()
    found = {
        "grey": scale.distances(wanted_scale),
        **{name: distances(each, wanted[name]) for name, each in values.items()},
    }
    # The mean of all grey values is that of the crops' means.
    return {
        name: Compared(
            new=float(values["mean" if name == "grey" else name].mean()),
            reference=float(wanted["mean" if name == "grey" else name].mean()),
            distances=each,
            limits=limits[name],
        )
        for name, each in found.items()
    }


def _compare_described(new: Profile, reference: Reference, rng: np.random.Generator) -> dict[str, Compared]:
    known = described_values(reference.described)
    compared = {}
    for name in (each for each in new.values if each in known):
        values, wanted = as_described(new.values[name]), known[name]
        compared[name] = Compared(
            new=float(values.mean()),
            reference=float(wanted.mean()),
            distances=distances(values, wanted),
            limits=calibrate(wanted, wanted, len(values), rng),
        )
    return compared


def words(drift: Drift) -> str:
    """What came of it, in a sentence or two."""
    n, over = len(drift.compared), [STATISTICS[name] for name in drift.over]
    if not over:
        return f"The new scans are the rock that the generators know: all {n} statistics are within their limits."
    listed: Sequence[str] = over if len(over) < 4 else [*over[:3], f"{len(over) - 3} more"]
    joined = listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
    return (
        f"The new scans are another rock, or another kind of scan of it: {len(over)} of {n} statistics are over a "
        f"limit ({joined})."
    )
