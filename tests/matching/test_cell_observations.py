"""Matches to maps: derivatives through the objective, every method, the results, and what a map is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rockbank.core.files import sha256
from rockbank.flow.casefile.file import load_case
from rockbank.flow.simulate import simulate
from rockbank.matching.io.case_file import load_match_case
from rockbank.matching.io.fingerprint import fingerprints
from rockbank.matching.methods.workers import advance
from rockbank.matching.problem.parameterisation import Model
from rockbank.matching.results.compact import compact
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
SURVEY, SIGMA = 120.0, 0.03


def truth() -> np.ndarray:
    """A permeability with a streak, which the prior of the case can draw."""
    x, y = np.meshgrid(np.arange(6), np.arange(5), indexing="ij")
    return np.asarray(1e-13 * np.exp(1.2 * np.exp(-((y - 3) ** 2)) - 0.8 * np.exp(-((x - 3) ** 2 + y**2) / 2)))


def written(folder: Path, *, has_map: bool, **keys: Any) -> Path:
    """A case file, and observations of its truth with noise: rates and pressures, and with them a map."""
    np.save(folder / "k.npy", truth())
    path = folder / "case.yaml"
    path.write_text(yaml.safe_dump({key: of for key, of in CASE.items() if key != "matching"}))
    case = load_case(path)
    result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=case.options)
    rng, rows = np.random.default_rng(2), ["time,time_unit,well,quantity,value,sigma,unit"]
    for i, (well, of_well) in enumerate(RATES.items()):
        for quantity, sigma in of_well.items():
            unit = "Pa" if quantity == "bhp" else "m3/s"
            for time, value in zip(result.time, getattr(result, quantity)[:, i].tolist(), strict=True):
                rows.append(f"{time},s,{well},{quantity},{value + sigma * rng.standard_normal()},{sigma},{unit}")
    (folder / "curves.csv").write_text("\n".join(rows))
    trajectory = result.trajectories[0]
    saturation = trajectory.saturation[trajectory.ends[3] + 1].numpy().reshape(SHAPE)
    np.save(folder / "s.npy", saturation + SIGMA * rng.standard_normal(SHAPE))
    maps = {"map": [{"time": f"{SURVEY} day", "file": "s.npy", "sigma": SIGMA}]} if has_map else {}
    matching = CASE["matching"] | {"observations": {"file": "curves.csv"} | maps} | keys
    path.write_text(yaml.safe_dump(CASE | {"matching": matching}))
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
    objective = opened(tmp_path / "run", written(tmp_path, has_map=True)).objective
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
    run = opened(tmp_path / "run", written(tmp_path, has_map=True))
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
    case = written(tmp_path, has_map=True)
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
    path = written(tmp_path, has_map=True)
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


def test_without_a_map_the_results_have_none(tmp_path: Path) -> None:
    run = ended(opened(tmp_path / "run", written(tmp_path, has_map=False), iterations=1))
    dataset = posterior(run, each(run))
    assert not [name for name in dataset if str(name).startswith("cell_observation")]
    with rough_pictures():
        assert 'id="saturation"' not in to_html(dataset)


def test_a_map_recovers_the_truth_better_than_rates_alone(tmp_path: Path) -> None:
    """A twin experiment: what both matches have not seen is the truth's own permeability and saturation."""
    errors = {}
    for has_map in (False, True):
        folder = tmp_path / str(has_map)
        folder.mkdir()
        run = ended(opened(folder / "run", written(folder, has_map=has_map), members=4, method="rml"))
        dataset = posterior(run, each(run)).sel(ensemble="posterior")
        k = np.log(dataset.permeability.transpose("member", "x", "y").values)
        errors[has_map] = float(np.sqrt(np.mean((k.mean(axis=0) - np.log(truth())) ** 2)))
        spread = float(k.std(axis=0).mean())
        errors[f"{has_map} spread"] = spread
    assert errors[True] < 0.8 * errors[False]
    assert errors["True spread"] < errors["False spread"]
