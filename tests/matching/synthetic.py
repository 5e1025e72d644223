"""Results of a history match, made up: channel sections, and curves that hang by a formula on three numbers."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy import ndimage

from rockbank.data.synthetic.channels import channel_sections

DAY = 86400.0
STEPS = np.array([1, 1, 3, 5, 5, 10, 10, 10, *[15] * 17, *[25] * 12], dtype=float) * DAY
RATE = 300 / DAY
SIGMA = {"bhp": 2e5, "water_rate": 0.03 * RATE, "oil_rate": 0.03 * RATE}
COLUMNS = {"injector": 7, "producer": 119}


def curves(traits: np.ndarray, time: np.ndarray) -> dict[str, np.ndarray]:
    """(n, time, well) of bottom-hole pressures and rates of an injector and a producer.

    Args:
        traits: (n, 3) standard normal numbers: resistance, breakthrough, and how fast water takes over.
        time: s.
    """
    drop = 1e7 * np.exp(0.5 * traits[:, 0, None]) * (0.5 + 0.5 * np.exp(-time / (150 * DAY)))
    breakthrough = 180 * DAY * np.exp(0.3 * traits[:, 1, None])
    pace = 150 * DAY * np.exp(0.2 * traits[:, 2, None])
    cut = 1 - np.exp(-np.maximum(time - breakthrough, 0) / pace)
    still = np.zeros_like(cut)
    return {
        "bhp": np.stack([1.5e7 + drop, still + 1.5e7], axis=-1),
        "water_rate": np.stack([still + RATE, -RATE * cut], axis=-1),
        "oil_rate": np.stack([still, -RATE * (1 - cut)], axis=-1),
    }


def matched(
    *,
    n_members: int = 12,
    n_latent: int = 40,
    n_iterations: int = 20,
    history: float = 300 * DAY,
    ensembles: Sequence[str] = ("prior", "posterior"),
    failed: Sequence[int] = (),
    has_truth: bool = True,
    has_observations: bool = True,
    has_facies: bool = True,
    has_segments: bool = True,
    seed: int = 0,
) -> xr.Dataset:
    """The dataset of a match whose posterior lies around a truth that is itself a draw of the posterior."""
    rng = np.random.default_rng(seed)
    time = np.cumsum(STEPS)
    n_ensembles, is_history = len(ensembles), time <= history + 1
    of_truth = rng.normal(size=3)
    traits = np.stack([rng.normal(size=(n_members, 3)), of_truth + 0.1 * rng.normal(size=(n_members, 3))])[:n_ensembles]
    # The truth is one more draw from where the posterior's members come from.
    of_truth = of_truth + 0.1 * rng.normal(size=3)
    sections = channel_sections(2 * n_members + 1, rng, 0.5)[:, 0].astype(float)
    truth, blurred = sections[-1], ndimage.gaussian_filter(sections, (0, 1.2, 1.2))
    blurred = blurred[:-1].reshape(2, n_members, *truth.shape)
    around = np.zeros(truth.shape)
    around[:, list(COLUMNS.values())] = 1
    around = np.minimum(4 * ndimage.gaussian_filter(around, (0, 4)), 1) * 0.75
    blurred[1] = (0.25 + around) * ndimage.gaussian_filter(truth, 0.5) + (0.75 - around) * blurred[1]
    facies = blurred[:n_ensembles]
    z = rng.normal(size=(n_ensembles, n_members, n_latent)) * np.array([1.0, 0.9])[:n_ensembles, None, None]
    by_ensemble = [curves(each, time) for each in traits]
    simulated = {name: np.stack([each[name] for each in by_ensemble]) for name in SIGMA}
    true = {name: value[0] for name, value in curves(of_truth[None], time).items()}

    dims = ("ensemble", "member")
    dataset = xr.Dataset(
        {
            "z": ((*dims, "latent"), z),
            "facies": ((*dims, "y", "x"), facies),
            "permeability": ((*dims, "y", "x"), 1e-12 * facies + 1e-15),
            "porosity": ((*dims, "y", "x"), 0.3 * facies + 0.1),
            **{name: ((*dims, "time", "well"), value) for name, value in simulated.items()},
            "status": ("member", np.full(n_members, "converged", dtype=object)),
            "reason": ("member", np.full(n_members, "the gain is small", dtype=object)),
            "perforation_well": ("perforation", np.repeat([0, 1], len(truth))),
            "perforation_i": ("perforation", np.repeat(list(COLUMNS.values()), len(truth))),
            "perforation_j": ("perforation", np.tile(np.arange(len(truth)), 2)),
        },
        coords={
            "ensemble": list(ensembles),
            "member": np.arange(n_members),
            "x": 4 * np.arange(truth.shape[1]) + 2.0,
            "y": 4 * np.arange(truth.shape[0]) + 2.0,
            "time": time,
            "is_history": ("time", is_history),
            "well": ["INJ", "PROD"],
            "well_kind": ("well", ["injector", "producer"]),
        },
        attrs={
            "title": "a match made up",
            "method": "rml",
            "generator": "channels@champion, version 3, sha256 0123456789abcdef",
            "seed": 42,
            "settings": '{"members": 12, "tolerance": 0.001}',
            "Conventions": "CF-1.11",
        },
    )
    _add_observations(dataset, true if has_observations else {}, rng)
    _add_facies_at_wells(dataset, truth, has_facies)
    _add_losses(dataset, n_iterations, rng)
    if has_truth:
        dataset["truth_facies"] = (("y", "x"), truth)
        for name, value in true.items():
            dataset[f"truth_{name}"] = (("time", "well"), value)
    if has_segments and n_ensembles > 1 and n_members > 2:
        _add_segments(dataset)
    for member in failed:
        _fail(dataset, member)
    return dataset


def _add_observations(dataset: xr.Dataset, true: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    is_history = dataset.is_history.values
    shown = [(name, i) for name, i in (("bhp", 0), ("water_rate", 1), ("oil_rate", 1)) if name in true]
    n = int(is_history.sum())
    dataset["observation_time"] = ("observation", np.tile(dataset.time.values[is_history], len(shown)))
    dataset["observation_well"] = ("observation", np.repeat([["INJ", "PROD"][i] for _, i in shown], n).astype(object))
    dataset["observation_quantity"] = ("observation", np.repeat([name for name, _ in shown], n).astype(object))
    sigma = np.repeat([SIGMA[name] for name, _ in shown], n)
    clean = np.concatenate([np.zeros(0), *(true[name][is_history, i] for name, i in shown)])
    dataset["observed"] = ("observation", clean + sigma * rng.normal(size=len(clean)))
    dataset["sigma"] = ("observation", sigma)
    parts = [dataset[name].values[:, :, is_history, i] for name, i in shown]
    empty = np.zeros((*dataset.z.shape[:2], 0))
    dataset["simulated"] = (("ensemble", "member", "observation"), np.concatenate([empty, *parts], axis=-1))


def _add_facies_at_wells(dataset: xr.Dataset, truth: np.ndarray, is_known: bool) -> None:
    i = np.repeat(list(COLUMNS.values()), len(truth)) if is_known else np.zeros(0, dtype=int)
    j = np.tile(np.arange(len(truth)), 2) if is_known else np.zeros(0, dtype=int)
    dataset["facies_cell_i"], dataset["facies_cell_j"] = ("facies_cell", i), ("facies_cell", j)
    dataset["facies_is_sand"] = ("facies_cell", truth[j, i] > 0.5)


def _add_losses(dataset: xr.Dataset, n_iterations: int, rng: np.random.Generator) -> None:
    """Final values as the curves and images have them, and histories from the prior's to the posterior's."""
    residual = (dataset.simulated - dataset.observed) / dataset.sigma
    j, i = dataset.facies_cell_j.values, dataset.facies_cell_i.values
    p = dataset.facies.values[:, :, j, i].clip(1e-14, 1 - 1e-14)
    is_sand = dataset.facies_is_sand.values
    final = {
        "loss_flow": 0.5 * (residual**2).sum("observation").values,
        "loss_wells": -np.where(is_sand, np.log(p), np.log(1 - p)).sum(axis=-1),
        "loss_prior": 0.5 * (dataset.z**2).sum("latent").values,
        "time_mean": (residual**2).sum("observation").values / max(1, dataset.sizes["observation"]) * 0.75,
        "accuracy": ((p > 0.5) == is_sand).mean(axis=-1) if is_sand.size else np.ones(p.shape[:2]),
    }
    n_members = dataset.sizes["member"]
    ends = rng.integers(n_iterations // 2, n_iterations + 1, size=n_members)
    progress = np.minimum(np.arange(n_iterations + 1) / np.maximum(ends, 1)[:, None], 1) ** 0.7
    for name, value in final.items():
        dataset[name] = (("ensemble", "member"), value)
        low, high = value[-1][:, None] + 1e-9, value[0][:, None] + 1e-9
        path = high * (low / high) ** progress
        path[np.arange(n_iterations + 1) > ends[:, None]] = np.nan
        history = ("history_time_mean" if name == "time_mean" else name.replace("loss", "history")).replace(
            "accuracy", "history_accuracy"
        )
        dataset[history] = (("member", "iterate"), path)
    cost = np.cumsum(rng.uniform(2, 6, size=progress.shape), axis=1)
    cost[np.arange(n_iterations + 1) > ends[:, None]] = np.nan
    dataset["history_cost"] = (("member", "iterate"), cost)
    # As of a method that makes one iteration to an iterate.
    counts = np.where(np.isfinite(cost), np.arange(n_iterations + 1.0), np.nan)
    dataset["history_iterations"] = (("member", "iterate"), counts)
    if n_iterations:
        start, end = dataset.facies.values[0, 0], dataset.facies.values[-1, 0]
        shown = np.unique(np.linspace(0, ends[0], 6).round().astype(int))
        path = np.stack([start + i / ends[0] * (end - start) for i in shown])
        dataset["facies_path"] = (("evolution", "y", "x"), path)
        dataset.coords["evolution_iterate"] = ("evolution", shown)


def _add_segments(dataset: xr.Dataset) -> None:
    """Between members 0, 1 and 2, round about; the loss is low at the ends."""
    members = np.array([[0, 1], [1, 2], [2, 0]])
    t = np.linspace(0, 1, 9)
    ends = dataset.facies.values[-1][members]
    mixed = (1 - t)[:, None, None] * ends[:, 0, None] + t[:, None, None] * ends[:, 1, None]
    time_mean = 1 + 400 * (t * (1 - t)) ** 2 * np.array([1, 2, 0.3])[:, None]
    dataset["segment_members"] = (("segment", "end"), members)
    dataset["interpolation_time_mean"] = (("segment", "point"), time_mean)
    dataset["interpolation_total"] = (("segment", "point"), 60 * time_mean)
    dataset["interpolation_facies"] = (("segment", "point", "y", "x"), mixed)


def _fail(dataset: xr.Dataset, member: int) -> None:
    """Nothing of a member but that it failed."""
    dataset["status"][member] = "failed"
    dataset["reason"][member] = "step 3: the pressure does not converge <here & now>"
    for name in dataset.data_vars:
        if "member" in dataset[name].dims and dataset[name].dtype == float:
            dataset[name].loc[{"member": dataset.member[member]}] = np.nan
