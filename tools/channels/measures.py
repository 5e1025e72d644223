"""How far sections of a generator are from object models: proportions, S2, connectivity, porosity, features, flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy import stats
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.data.synthetic.channels import FACIES, POROSITY, channel_sections
from rockbank.matching.io.case_file import MatchCase
from rockbank.metrics.features import Extractor, features
from rockbank.metrics.fid import fid
from rockbank.metrics.kid import kid
from rockbank.rock.bands import Band, Curves, bootstrap_band
from rockbank.rock.correlation import directional_correlation
from rockbank.rock.descriptors import porosity
from rockbank.rock.percolation import are_columns_connected
from tools.channels.flow import Responses, chance, distances, flow_responses, parts_of

# Of a section, rows down.
AXES = ("z", "x")
COLUMNS = (8, 120)
# The law can be drawn at will: so many times the samples of a generator leave most of a band's width to the generator.
N_LAW = 4
# Streams of the seed: of the sections that the band is about, of those that vary it, and of the floor.
CENTRE, SPREAD, FLOOR = range(3)
Sections = Float32[np.ndarray, "n 3 h w"]
Curve = Float[np.ndarray, "n r"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every row is measured with.

    Attributes:
        n_samples: of each generator.
        n_runs: forward runs of each; 0 leaves the flow out.
        seed: of latents, object models, KID's subsets and the bootstrap.
        sand_proportion: at which object models are complete.
    """

    n_samples: int
    n_runs: int
    seed: int
    sand_proportion: float

    def __post_init__(self) -> None:
        if self.n_samples < 4:
            raise InputError(f"samples: got {self.n_samples}; ask for at least 4")
        if self.n_runs == 1 or not 0 <= self.n_runs <= self.n_samples:
            raise InputError(f"runs: got {self.n_runs} of {self.n_samples} samples; ask for 0, or for at least 2 of "
                             "the samples")  # fmt: skip

    def object_models(self, n: int, stream: int) -> Sections:
        """Sections of the law, from a stream of their own of the seed."""
        return channel_sections(n, np.random.default_rng([self.seed, stream]), self.sand_proportion)


@dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """What object models have, which every generator is held against.

    Attributes:
        bands: of S2 along each of `AXES`, in which the mean of a generator's samples lies if it has the law.
        connected: part of the sections whose `COLUMNS` are connected through sand.
        porosity: the porosity variable's values in sand and in shale.
        features: of test crops.
        extractor: of the features.
        case: that the flow goes through; None leaves the flow out.
        responses: of object models in the case.
    """

    bands: Mapping[str, Band]
    connected: float
    porosity: Mapping[str, Float32[np.ndarray, " m"]]
    features: Float[Tensor, "n d"]
    extractor: Extractor
    case: MatchCase | None
    responses: Responses | None


def find_law(
    settings: Settings, real_features: Float[Tensor, "n d"], extractor: Extractor, case: MatchCase | None
) -> Law:
    """The law of object models, from `N_LAW` times as many sections as a generator has samples, twice."""
    n, n_samples = N_LAW * settings.n_samples, settings.n_samples
    centre = settings.object_models(n, CENTRE)
    sand = is_sand(centre)
    curves, others = s2_curves(sand), s2_curves(is_sand(settings.object_models(n, SPREAD)))
    rng = np.random.default_rng(settings.seed)
    each = np.arange(n)
    bands = {
        axis: bootstrap_band(
            Curves(values=curves[axis], blocks=each), Curves(values=others[axis], blocks=each), n_samples, rng
        )
        for axis in AXES
    }
    has_flow = case is not None and settings.n_runs > 0
    return Law(
        bands=bands,
        connected=float(are_columns_connected(sand, *COLUMNS).mean()),
        porosity=porosities(centre[:n_samples]),
        features=real_features[:n_samples],
        extractor=extractor,
        case=case if has_flow else None,
        responses=flow_responses(case, centre[: settings.n_runs], "object models") if case and has_flow else None,
    )


def measure(sections: Sections, law: Law, settings: Settings, name: str) -> tuple[dict[str, Any], Responses | None]:
    """Every measure of one generator's sections, JSON-ready, and the flow's responses."""
    sand = is_sand(sections)
    embedded = features(sections, law.extractor)
    distance = kid(law.features, embedded, settings.seed)
    proportion = porosity(sand)
    responses, flow = None, None
    if law.case is not None and law.responses is not None:
        responses = flow_responses(law.case, sections[: settings.n_runs], name)
        flow = distances(law.responses, responses, parts_of(law.case))
    found = {
        "sand": {"mean": float(proportion.mean()), "std": float(proportion.std())},
        "s2": s2_against(law.bands, sand),
        "connected": float(are_columns_connected(sand, *COLUMNS).mean()),
        "ks": ks_statistics(law.porosity, porosities(sections)),
        "kid": distance.mean,
        "kid_std": distance.std,
        "fid": fid(law.features, embedded),
        "flow": flow,
    }
    return found, responses


def flow_chance(law: Law, floor: Responses | None, seed: int) -> dict[str, float] | None:
    """What the energy distance of as many object models stays below 19 times in 20."""
    if law.case is None or law.responses is None or floor is None:
        return None
    real = law.responses
    parts = {name: part for name, part in parts_of(law.case).items() if part.any()}
    return {name: chance(real[:, part], floor[:, part], np.random.default_rng(seed)) for name, part in parts.items()}


def is_sand(sections: Sections) -> Bool[np.ndarray, "n h w"]:
    """Where the facies are above a half."""
    return np.asarray(sections[:, FACIES] > 0.5)


def s2_curves(sand: Bool[np.ndarray, "n h w"]) -> dict[str, Curve]:
    """S2 of each section along each of `AXES`, at lags of 0 to half of the height."""
    curves = np.stack([directional_correlation(each) for each in sand])
    return {axis: curves[:, i] for i, axis in enumerate(AXES)}


def s2_against(bands: Mapping[str, Band], sand: Bool[np.ndarray, "n h w"]) -> dict[str, dict[str, Any]]:
    """Along each axis: the mean curve, the part of its lags inside the band, and its greatest distance."""
    found = {}
    for axis, curves in s2_curves(sand).items():
        mean = curves.mean(axis=0)
        found[axis] = {
            "inside": float(bands[axis].contains(mean).mean()),
            "distance": float(np.abs(mean - bands[axis].centre).max()),
            "mean": [round(float(value), 5) for value in mean],
        }
    return found


def porosities(sections: Sections) -> dict[str, Float32[np.ndarray, " m"]]:
    """The porosity variable of all cells of sand, and of all cells of shale."""
    sand, values = is_sand(sections), sections[:, POROSITY]
    return {"sand": values[sand], "shale": values[~sand]}


def ks_statistics(
    real: Mapping[str, Float32[np.ndarray, " m"]], other: Mapping[str, Float32[np.ndarray, " k"]]
) -> dict[str, float | None]:
    """The largest difference between the distribution functions (Kolmogorov-Smirnov) within each facies.

    None where one of the two has none of the facies.
    """
    return {
        facies: float(stats.ks_2samp(values, other[facies], method="asymp").statistic)
        if len(values) and len(other[facies])
        else None
        for facies, values in real.items()
    }
