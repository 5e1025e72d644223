"""Matches to maps and pressures at depths: derivatives, every method, the results, and what they are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml

from rockbank.core.files import sha256
from rockbank.flow.casefile.file import load_case
from rockbank.flow.simulate import simulate
from rockbank.matching.io.case_file import load_match_case
from rockbank.matching.io.fingerprint import fingerprints
from rockbank.matching.methods.workers import advance
from rockbank.matching.problem.parameterisation import Model
from rockbank.matching.results.compact import compact
from rockbank.matching.results.plots.pressures import draw_pressures
from rockbank.matching.results.plots.saturation import draw_saturation_maps
from rockbank.matching.results.posterior import posterior, read_posterior, write_posterior
from rockbank.matching.results.report import to_html
from rockbank.matching.results.summary import summary, table
from rockbank.matching.run import Run
from rockbank.matching.settings import Settings
from rockbank.workflows.match_about import about, status
from rockbank.workflows.match_request import MatchRequest
from tests.matching.quick import rough_pictures

DAY = 86400.0
SHAPE = (6, 5)
CASE: dict[str, Any] = yaml.safe_load("""
title: A quarter of a five-spot
grid: {shape: [6, 5], spacing: [30, 30, 10]}
rock: {permeability: {file: k.npy}, porosity: 0.2, compressibility: 1e-9}
fluid:
  water: {viscosity: 1 cP, density: 1000}
  oil: {viscosity: 2 cP, density: 800}
  curves: {water: {residual: 0.2, span: 0.6}, oil: {residual: 0.2, span: 0.6}}
wells:
  INJ: {kind: injector, cells: {i: 0, j: 0}}
  PROD: {kind: producer, cells: {i: 5, j: 4}}
schedule:
  unit: day
  steps: [30 x 6]
  controls: {INJ: {rate: 60 m3/day}, PROD: {bhp: 150 bar}}
initial: {pressure: 200 bar, saturation: 0.2}
matching:
  parameters: {k: {gaussian: {median: 100 mD, deviation: 1, ranges: [80, 80], components: 12}}}
  truth: true
  seed: 5
""")
RATES = {"INJ": {"bhp": 2e5}, "PROD": {"water_rate": 2 / DAY, "oil_rate": 2 / DAY}}
SURVEY, SIGMA, SIGMA_RFT = 120.0, 0.03, 2e4
ZONES = np.array([0.5, 2.0])  # multipliers of the truth's permeability
OBSERVERS = {"O1": {"i": 1, "j": 3}, "O2": {"i": 3, "j": 1}, "O3": {"i": 4, "j": 3}}


def truth() -> np.ndarray:
    """A permeability with a streak, which the prior of the case can draw."""
    x, y = np.meshgrid(np.arange(6), np.arange(5), indexing="ij")
    return np.asarray(1e-13 * np.exp(1.2 * np.exp(-((y - 3) ** 2)) - 0.8 * np.exp(-((x - 3) ** 2 + y**2) / 2)))


def written(folder: Path, *, kind: str, **keys: Any) -> Path:
    """A case file, and observations of its truth with noise: rates and pressures, and with them a map or an RFT.

    The RFT is of three wells that are shut.
    """
    np.save(folder / "k.npy", truth())
    text = {key: of for key, of in CASE.items() if key != "matching"}
    if kind == "rft":
        shut = {name: {"kind": "producer", "cells": place} for name, place in OBSERVERS.items()}
        controls = text["schedule"]["controls"] | {name: {"shut": True} for name in OBSERVERS}
        text |= {"wells": text["wells"] | shut, "schedule": text["schedule"] | {"controls": controls}}
    path = folder / "case.yaml"
    path.write_text(yaml.safe_dump(text))
    case = load_case(path)
    result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=case.options)
    rng, rows = np.random.default_rng(2), ["time,time_unit,well,quantity,value,sigma,unit"]
    names = [well.name for well in case.wells]
    for well, of_well in RATES.items():
        for quantity, sigma in of_well.items():
            unit = "Pa" if quantity == "bhp" else "m3/s"
            for time, value in zip(result.time, getattr(result, quantity)[:, names.index(well)].tolist(), strict=True):
                rows.append(f"{time},s,{well},{quantity},{value + sigma * rng.standard_normal()},{sigma},{unit}")
    (folder / "curves.csv").write_text("\n".join(rows))
    trajectory = result.trajectories[0]
    pressure, saturation = (
        getattr(trajectory, name)[trajectory.ends[3] + 1].numpy().reshape(SHAPE) for name in ("pressure", "saturation")
    )
    np.save(folder / "s.npy", saturation + SIGMA * rng.standard_normal(SHAPE))
    observed: dict[str, Any] = {"file": "curves.csv"}
    if kind == "map":
        observed["map"] = [{"time": f"{SURVEY} day", "file": "s.npy", "sigma": SIGMA}]
    elif kind == "rft":
        observed["rft"] = [
            {
                "well": name,
                "time": f"{SURVEY} day",
                "depth": 5.0,
                "pressure": float(pressure[place["i"], place["j"]] + SIGMA_RFT * rng.standard_normal()),
                "sigma": SIGMA_RFT,
            }
            for name, place in OBSERVERS.items()
        ]
    path.write_text(yaml.safe_dump(text | {"matching": CASE["matching"] | {"observations": observed} | keys}))
    return path


def opened(folder: Path, case: Path, **settings: Any) -> Run:
    """A run without a generator."""
    asked: dict[str, Any] = {"method": "gauss-newton", "members": 2, "seed": 5, "generator": ""} | settings
    inputs = fingerprints(load_match_case(case))
    return Run.create(folder, Settings(case=str(case), case_sha256=sha256(case), inputs=inputs, **asked))


def each(run: Run) -> Any:
    """A parallel map in this process."""
    return lambda function, arguments: [function(run, argument) for argument in arguments]


def ended(run: Run) -> Run:
    """With all its members at their ends."""
    if run.ensemble_method is not None:
        run.ensemble_method.run(run, run.settings.members, run.settings.seed, each(run))
    else:
        for i in range(run.settings.members):
            advance(run, i, lambda _: None, lambda: False)
    return run


def test_the_taylor_remainder_of_the_objective_is_of_second_order(tmp_path: Path) -> None:
    objective = opened(tmp_path / "run", written(tmp_path, kind="map")).objective
    rng = np.random.default_rng(1)
    z, direction = rng.standard_normal((2, objective.n_latent))
    target, tolerance = objective.target(), 1e-11
    here = objective.at(z, target, tolerance)
    slope = here.gradient @ direction
    rest = [
        abs(objective.at(z + h * direction, target, tolerance).parts.total - here.parts.total - h * slope)
        for h in (0.02, 0.01, 0.005)
    ]
    assert min(np.log2(np.array(rest[:-1]) / rest[1:])) > 1.9
    linear = here.linearise()
    assert linear.jacobian.shape == (18 + 30, objective.n_latent)
    np.testing.assert_allclose(linear.jacobian.T @ linear.residual + z, here.gradient, rtol=1e-7, atol=1e-6)


def test_a_map_is_simulated_at_its_time_and_in_its_cells(tmp_path: Path) -> None:
    run = opened(tmp_path / "run", written(tmp_path, kind="map"))
    objective, case = run.objective, run.case.case
    z = np.random.default_rng(4).standard_normal(objective.n_latent)
    point = objective.at(z, objective.target(), 1e-9)
    model = Model(rock=case.rock, fluid=case.fluid)
    rock = objective.rock.model(point.evaluation.variables.detach(), model).rock
    result = simulate(rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=case.options)
    trajectory = result.trajectories[0]
    expected = trajectory.saturation[trajectory.ends[3] + 1]
    np.testing.assert_allclose(point.evaluation.simulated.detach()[18:], expected, atol=1e-5)


@pytest.mark.parametrize(
    "method",
    ["adam", "gauss-newton", "rml", "es-mda", "es-mda-localised", "pcn", pytest.param("mala", marks=pytest.mark.slow)],
)
def test_every_method_lowers_the_misfit_of_a_map(method: str, tmp_path: Path) -> None:
    many = method.startswith("es-mda")
    limits = {"adam": 12, "gauss-newton": 3, "rml": 3, "pcn": 12, "mala": 30}
    case = written(tmp_path, kind="map")
    run = ended(
        opened(tmp_path / "run", case, method=method, members=12 if many else 1, iterations=limits.get(method, 2))
    )
    dataset = posterior(run, each(run))
    at = dataset.cell_observation.values
    left = (dataset.simulated - dataset.observed).isel(observation=at) / dataset.sigma.isel(observation=at)
    misfit = (left**2).mean(["member", "observation"])
    assert misfit.sel(ensemble="posterior") < misfit.sel(ensemble="prior")
    assert (table(dataset).status != "failed").all()


@pytest.mark.slow
def test_results_status_and_dry_run_know_the_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, kind="map")
    run = ended(opened(tmp_path / "run", path, iterations=2))
    dataset = posterior(run, each(run))
    write_posterior(tmp_path, dataset)
    again = read_posterior(tmp_path)
    assert again.observation_quantity.values[18:].tolist() == ["saturation"] * 30
    assert again.cell_observation.values.tolist() == list(range(18, 48))
    place = again.cell_observation_i.values * 5 + again.cell_observation_j.values
    np.testing.assert_array_equal(again.observed.values[18:], np.load(tmp_path / "s.npy").ravel()[place])
    with rough_pictures():
        assert 'id="saturation"' in to_html(again)
        assert 'id="saturation"' in to_html(compact(again))
    assert 0 < summary(again)["ensembles"]["posterior"]["coverage_observations"] <= 1
    assert len(status(run.folder)[0]) == 2
    facts = about(path, MatchRequest(method="rml", members=2, name="new"), workers=1)
    assert facts["observations"] == "48: 6 bhp of INJ, 6 oil_rate of PROD, 6 water_rate of PROD, 30 saturation on 1 map"


@pytest.mark.slow
def test_without_a_map_the_results_have_none(tmp_path: Path) -> None:
    run = ended(opened(tmp_path / "run", written(tmp_path, kind="curves"), iterations=1))
    dataset = posterior(run, each(run))
    assert not [name for name in dataset if str(name).startswith("cell_observation")]
    with rough_pictures():
        assert 'id="saturation"' not in to_html(dataset)


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, xr.Dataset]:
    """Posteriors of matches to the same truth, by what was observed."""
    found = {}
    for kind in ("curves", "map", "rft"):
        folder = tmp_path_factory.mktemp(kind)
        run = ended(opened(folder / "run", written(folder, kind=kind), members=4, method="rml"))
        found[kind] = posterior(run, each(run))
    return found


def log_permeability(dataset: xr.Dataset) -> np.ndarray:
    """Of the posterior's members."""
    return np.asarray(np.log(dataset.permeability.sel(ensemble="posterior").transpose("member", "x", "y").values))


@pytest.mark.slow
def test_a_map_recovers_the_truth_better_than_rates_alone(twins: dict[str, xr.Dataset]) -> None:
    """A twin experiment: what neither match has seen is the truth's own permeability."""
    k = {name: log_permeability(twins[name]) for name in ("curves", "map")}
    error = {name: np.sqrt(np.mean((of.mean(axis=0) - np.log(truth())) ** 2)) for name, of in k.items()}
    assert error["map"] < 0.8 * error["curves"]
    assert k["map"].std(axis=0).mean() < k["curves"].std(axis=0).mean()


def zones(folder: Path, *, has_rft: bool) -> Path:
    """Two zones between injector and producer; one pressure of the injector tells both their resistances together."""
    grid = {"shape": [12, 1], "spacing": [30, 30, 10]}
    wells = {
        "INJ": {"kind": "injector", "cells": {"i": 0, "j": 0}},
        "OBS": {"kind": "producer", "cells": {"i": 5, "j": 0}},
        "PROD": {"kind": "producer", "cells": {"i": 11, "j": 0}},
    }
    controls = {"INJ": {"rate": "20 m3/day"}, "OBS": {"shut": True}, "PROD": {"bhp": "150 bar"}}
    schedule = {"unit": "day", "steps": ["10 x 3"], "controls": controls}
    np.save(folder / "zones.npy", np.repeat([1, 2], 6)[:, None])
    np.save(folder / "k.npy", 1e-13 * np.repeat(ZONES, 6)[:, None])
    text = {key: of for key, of in CASE.items() if key != "matching"}
    text |= {"grid": grid, "wells": wells, "schedule": schedule}
    path = folder / "case.yaml"
    path.write_text(yaml.safe_dump(text))
    case = load_case(path)
    result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=case.options)
    rows = ["time,time_unit,well,quantity,value,sigma,unit", f"30,day,INJ,bhp,{result.bhp[-1, 0].item()},1e5,Pa"]
    (folder / "curves.csv").write_text("\n".join(rows))
    pressure = result.trajectories[0].pressure[-1, 5].item()
    rft = {"well": "OBS", "time": "30 day", "depth": 5.0, "pressure": pressure, "sigma": 2e4}
    observed: dict[str, Any] = {"file": "curves.csv"} | ({"rft": [rft]} if has_rft else {})
    prior = {"median": 1, "log_deviation": 0.7}
    multiplier = {"of": "permeability", "regions": {"file": "zones.npy"}, "prior": prior}
    matching = {"parameters": {"zones": {"multiplier": multiplier}}, "observations": observed, "seed": 5}
    rock = {"permeability": 1e-13, "porosity": 0.2, "compressibility": 1e-9}
    path.write_text(yaml.safe_dump(text | {"rock": rock, "matching": matching}))
    return path


@pytest.mark.slow
def test_a_pressure_between_wells_recovers_the_truth_better_than_one_of_a_well_alone(tmp_path: Path) -> None:
    """A twin experiment: the pressure in the middle tells the two zones apart."""
    error, spread = {}, {}
    for has_rft in (False, True):
        folder = tmp_path / str(has_rft)
        folder.mkdir()
        run = ended(opened(folder / "run", zones(folder, has_rft=has_rft), members=4, method="rml"))
        found = np.log(posterior(run, each(run)).parameters.sel(ensemble="posterior").values)
        error[has_rft] = np.sqrt(np.mean((found - np.log(ZONES)) ** 2))
        spread[has_rft] = found.std(axis=0).max()
    assert error[True] < 0.3 * error[False]
    assert spread[True] < 0.3 * spread[False]


@pytest.mark.parametrize("kind", ["map", "rft"])
def test_a_match_meets_observations_of_cells_within_their_noise(twins: dict[str, xr.Dataset], kind: str) -> None:
    of = twins[kind].isel(observation=twins[kind].cell_observation.values)
    misfit = (((of.simulated - of.observed) / of.sigma) ** 2).mean(["member", "observation"])
    assert float(misfit.sel(ensemble="posterior")) < 2 < float(misfit.sel(ensemble="prior"))


def test_the_report_shows_pressures_at_depths(twins: dict[str, xr.Dataset]) -> None:
    assert draw_pressures(twins["rft"]) is not None
    assert draw_pressures(twins["map"]) is None
    assert draw_saturation_maps(twins["map"]) is not None
    assert draw_saturation_maps(twins["rft"]) is None
    assert twins["rft"].observation_well.values[-3:].tolist() == ["O1", "O2", "O3"]
