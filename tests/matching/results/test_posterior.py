"""The dataset of a run holds what its members came to, simulated anew, and all that its readers ask for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rockbank.flow.case import Case
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import discretise
from rockbank.flow.results.balance import balance
from rockbank.flow.results.netcdf import to_dataset
from rockbank.flow.simulate import simulate
from rockbank.matching.methods.state import State
from rockbank.matching.methods.workers import advance
from rockbank.matching.problem.cost import COST
from rockbank.matching.problem.parameterisation import Model
from rockbank.matching.results.forecast import predict, slerp, with_forecast
from rockbank.matching.results.posterior import fingerprint, n_runs, posterior, read_posterior, write_posterior
from rockbank.matching.results.report import to_html
from rockbank.matching.results.summary import summary, table
from rockbank.matching.run import Run
from tests.matching.quick import rough_pictures
from tests.matching.tiny import DAY, make_run, write_case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_case(tmp_path_factory.mktemp("case"))


class Counted:
    """Calls function(run, argument) of each, here, and counts."""

    def __init__(self, run: Run) -> None:
        self.run, self.n = run, 0

    def __call__(self, function: Callable[[Any, Any], Any], arguments: Sequence[Any]) -> list[Any]:
        self.n += len(arguments)
        return [function(self.run, each) for each in arguments]


def of(run: Run, members: Sequence[int] | None = None) -> xr.Dataset:
    """The dataset after these members have ended."""
    for i in range(run.settings.members) if members is None else members:
        advance(run, i, lambda _: None, lambda: False)
    return posterior(run, Counted(run))


@pytest.fixture(scope="module")
def run(case: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"), case, iterations=3, members=4)


@pytest.fixture(scope="module")
def dataset(run: Run) -> xr.Dataset:
    return of(run)


def test_latents_and_histories_are_those_of_the_members(run: Run, dataset: xr.Dataset) -> None:
    for i, state in enumerate(run.states()):
        assert state is not None
        n = len(state.records)
        np.testing.assert_array_equal(dataset.z.sel(ensemble="prior", member=i), run.member(i).z)
        np.testing.assert_array_equal(dataset.z.sel(ensemble="posterior", member=i), state.last.z)
        names = ("flow", "wells", "prior", "time_mean", "accuracy")
        history = np.stack([dataset[f"history_{name}"].sel(member=i) for name in names], axis=1)
        np.testing.assert_array_equal(history[:n], [astuple(record.parts) for record in state.records])
        assert np.isnan(history[n:]).all()
        np.testing.assert_array_equal(dataset.z_path[i, :n], np.float32([record.z for record in state.records]))
        assert str(dataset.status[i].item()) == state.status


def test_cost_is_in_forward_runs(dataset: xr.Dataset) -> None:
    weighed = sum(weight * dataset[f"cost_{name}"] for name, weight in COST.items())
    np.testing.assert_allclose(dataset.history_cost, weighed, rtol=1e-12)
    assert min(COST, key=lambda name: COST[name]) == "generator_evaluations"
    assert max(COST, key=lambda name: COST[name]) == "jacobians"
    assert (dataset.cost_jacobians.max("iterate") >= 1).all()


def test_what_is_reported_is_simulated_of_the_reported_rock(run: Run, dataset: xr.Dataset) -> None:
    at = dataset.sel(ensemble="posterior", member=1)
    case = with_forecast(run.case)
    permeability, porosity = (
        torch.tensor(at[name].transpose("x", "y").values) for name in ("permeability", "porosity")
    )
    rock = replace(case.rock, permeability=permeability, porosity=porosity)
    result = simulate(
        rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=Options(tolerance=1e-9)
    )
    # Both are this near to the exact solution.
    np.testing.assert_allclose(at.bhp, result.bhp, rtol=1e-4)
    np.testing.assert_allclose(at.oil_rate, result.oil_rate, atol=1e-4 * float(abs(result.oil_rate).max()))
    geology = run.case.geology
    facies = (at.permeability - geology.least_permeability) / geology.permeability_range
    np.testing.assert_allclose(at.facies, facies, atol=1e-12)


def test_oil_produced_is_of_the_steps_really_taken(tmp_path: Path) -> None:
    path = write_case(tmp_path)
    text = yaml.safe_load(path.read_text()) | {"options": {"first_step": "1 day"}}
    text["rock"]["compressibility"] = 1e-8
    path.write_text(yaml.safe_dump(text))
    run = make_run(tmp_path / "run", path, method="prior", members=2)
    dataset = of(run)
    case = with_forecast(run.case)
    case = replace(case, options=replace(case.options, tolerance=1e-6))

    def produced(case: Case) -> float:
        result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=case.options)
        numbered = discretise(case.rock, case.fluid, case.wells, case.schedule, case.initial)
        volumes = to_dataset(case, result, balance(*numbered, result.trajectories[0])).oil_volume
        # The rates at the ends of the report steps give another.
        of_rates = (result.oil_rate[:, 1].numpy() * np.diff(result.time, prepend=0)).sum()
        assert abs(of_rates / volumes[-1, 1].item() - 1) > 0.01
        return float(-volumes[-1, 1])

    assert summary(dataset)["truth"]["oil_produced"] == pytest.approx(produced(case), rel=1e-6)
    for i, found in enumerate(table(dataset).prior_oil_produced):
        z = torch.as_tensor(run.member(i).z)
        model = run.rock.model(run.rock.variables(z), Model(rock=case.rock, fluid=case.fluid))
        k, phi = model.rock.components[0].detach(), model.rock.porosity.detach()
        own = replace(case, rock=replace(model.rock, permeability=k, porosity=phi))
        assert found == pytest.approx(produced(own), rel=1e-6)


def test_the_forecast_follows_the_history_and_does_not_change_it(run: Run, dataset: xr.Dataset) -> None:
    np.testing.assert_allclose(dataset.time / DAY, [5, 25, 45, 65, 85, 125, 165], rtol=1e-12)
    assert dataset.is_history.values.tolist() == [True] * 5 + [False] * 2
    z = dataset.z.sel(ensemble="posterior", member=0).values
    objective = run.objective
    alone = objective.evaluate(z, 1e-6, with_run=True)
    np.testing.assert_array_equal(dataset.simulated.sel(ensemble="posterior", member=0), alone.simulated.detach())
    parts = objective.point(alone, objective.target()).parts
    at = dataset.sel(ensemble="posterior", member=0)
    np.testing.assert_allclose(
        [at.loss_flow, at.loss_wells, at.loss_prior, at.time_mean, at.accuracy], astuple(parts), rtol=1e-12
    )


def test_simulated_values_stand_where_the_observations_do(run: Run, dataset: xr.Dataset) -> None:
    assert dataset.observed.values.tolist() == run.case.observations.value.tolist()
    for i in range(dataset.sizes["observation"]):
        time, well = dataset.observation_time[i].item(), str(dataset.observation_well[i].item())
        curve = dataset[str(dataset.observation_quantity[i].item())].sel(well=well)
        np.testing.assert_array_equal(curve.sel(time=time, method="nearest"), dataset.simulated[..., i])


def test_the_truth_is_the_case_s_own_rock(run: Run, dataset: xr.Dataset) -> None:
    geology, k = run.case.geology, run.case.case.rock.components[0].numpy()
    facies = (k - geology.least_permeability) / geology.permeability_range
    np.testing.assert_allclose(dataset.truth_facies, facies.T, atol=1e-12)
    # The observations are the truth and noise: more than five standard deviations off are no noise.
    of = dataset.observation_quantity.values == "bhp"
    shown = dataset.truth_bhp.sel(well="INJ").values[:5]
    assert (np.abs(dataset.observed.values[of] - shown) < 5 * dataset.sigma.values[of]).all()


def test_sand_at_the_wells_is_that_of_the_truth(dataset: xr.Dataset) -> None:
    seen = dataset.truth_facies.values[dataset.facies_cell_j, dataset.facies_cell_i] > 0.5
    np.testing.assert_array_equal(seen, dataset.facies_is_sand)
    wells = dataset.well.values[dataset.perforation_well]
    assert set(zip(wells, dataset.perforation_i.values.tolist(), strict=True)) == {("INJ", 1), ("PROD", 14)}


def test_segments_lead_round_the_three_best_members(run: Run, dataset: xr.Dataset) -> None:
    total = sum(dataset[f"loss_{part}"].sel(ensemble="posterior") for part in ("flow", "wells", "prior"))
    best = np.argsort(total.values)[:3].tolist()
    assert dataset.segment_members.values.tolist() == [[best[0], best[1]], [best[1], best[2]], [best[2], best[0]]]
    ends = total.values[dataset.segment_members]
    np.testing.assert_array_equal(dataset.interpolation_total[:, [0, -1]], ends)
    middle = predict(run, slerp(*(dataset.z.values[1, i] for i in best[:2]), 0.5))
    assert not isinstance(middle, str)
    assert dataset.interpolation_total[0, 4].item() == middle.parts.total
    np.testing.assert_array_equal(dataset.interpolation_facies[0, 4], middle.facies)


def test_the_evolution_is_that_of_the_best_member(dataset: xr.Dataset) -> None:
    member = dataset.facies_path.attrs["member"]
    assert member == dataset.segment_members[0, 0].item()
    assert dataset.evolution_iterate[0] == 0
    np.testing.assert_allclose(dataset.facies_path[0], dataset.facies[0, member], atol=1e-12)
    np.testing.assert_allclose(dataset.facies_path[-1], dataset.facies[1, member], atol=1e-12)


def test_no_more_runs_are_made_than_were_told(case: Path, tmp_path: Path, run: Run) -> None:
    counted = Counted(run)
    posterior(run, counted)
    assert counted.n == n_runs(run) == 2 * 4 + 3 * 7 + 1
    prior = make_run(tmp_path / "prior", case, method="prior", members=2)
    counted = Counted(prior)
    for i in range(2):
        advance(prior, i, lambda _: None, lambda: False)
    posterior(prior, counted)
    assert counted.n == n_runs(prior) == 2 + 1


def test_a_file_gives_back_what_was_written(run: Run, dataset: xr.Dataset, tmp_path: Path) -> None:
    write_posterior(tmp_path, dataset)
    xr.testing.assert_identical(read_posterior(tmp_path), dataset)
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 1 + run.settings.members
    (tmp_path / "posterior.nc").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"posterior\.nc: no NetCDF file"):
        read_posterior(tmp_path)
    with pytest.raises(ValueError, match=r"no such file; 'rockbank match report"):
        read_posterior(tmp_path / "nowhere")


def test_a_dataset_of_the_first_version_is_read_under_todays_names(
    run: Run, dataset: xr.Dataset, tmp_path: Path
) -> None:
    names = {"iterate": "iteration", "evolution_iterate": "evolution_iteration", "segment": "leg",
             "segment_members": "leg_members", "cost_generator_evaluations": "cost_passes"}  # fmt: skip
    old = dataset.drop_vars("history_iterations").rename(names)
    old["status"] = ("member", ["spent", "floor", "converged", "stuck"])
    old.to_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    again = read_posterior(tmp_path)
    assert set(again.variables) == set(dataset.variables)
    np.testing.assert_array_equal(again.history_iterations, dataset.history_iterations)
    words = ["max_iterations_reached", "noise_level_reached", "converged", "stuck"]
    assert again.status.values.tolist() == words
    xr.testing.assert_equal(again.drop_vars("status"), dataset.drop_vars("status"))


def test_every_variable_says_what_it_is(dataset: xr.Dataset) -> None:
    assert all("long_name" in dataset[name].attrs for name in dataset.variables)
    numbers = [name for name in dataset.data_vars if dataset[name].dtype == float]
    unnamed = {name for name in numbers if "units" not in dataset[name].attrs}
    # Of pressures and rates together.
    assert unnamed == {"simulated", "observed", "sigma"}


def test_it_says_where_it_comes_from(run: Run, dataset: xr.Dataset) -> None:
    assert dataset.attrs["title"] == "A tiny match"
    assert dataset.attrs["generator_sha256"] == run.card_sha256
    assert json.loads(dataset.attrs["settings"])["iterations"] == 3
    # Results are given to others, who have no business with the folders of this machine.
    assert str(run.folder.parent) not in json.dumps(dataset.attrs)
    assert dataset.attrs["checkpoints_sha256"] == fingerprint(run)


def test_another_state_is_another_fingerprint(case: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", case, method="prior", members=2)
    before = fingerprint(run)
    advance(run, 1, lambda _: None, lambda: False)
    after = fingerprint(run)
    assert before != after
    assert fingerprint(run) == after


VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "prior": ({}, {"method": "prior"}),
    "one member": ({}, {"members": 1, "iterations": 1}),
    "nothing observed": ({"observations": None}, {"iterations": 1}),
    "no facies": ({"facies": None}, {"iterations": 1}),
    "no truth": ({"truth": None, "facies": None}, {"iterations": 1}),
    "no forecast": ({"forecast": None}, {"iterations": 1}),
    "wells alone": ({}, {"flow": False}),
    "adam": ({}, {"method": "adam", "iterations": 2, "scaling": "published"}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_run_has_a_dataset_and_a_report(variant: str, tmp_path: Path) -> None:
    of_case, settings = VARIANTS[variant]
    run = make_run(tmp_path / "run", write_case(tmp_path, **of_case), **({"members": 2} | settings))
    dataset = of(run)
    write_posterior(tmp_path, dataset)
    again = read_posterior(tmp_path)
    numbers = summary(again)
    assert numbers["done"] == run.settings.members
    assert len(table(again)) == run.settings.members
    assert list(again.ensemble.values) == (["prior"] if variant == "prior" else ["prior", "posterior"])
    with rough_pictures():
        assert "A tiny match" in to_html(again)


def test_members_that_failed_or_have_not_ended_are_told_apart(case: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", case, iterations=1, members=3)
    State(records=()).ended("failed", "NewtonError: step 3").save(run.checkpoint(0))
    dataset = of(run, members=[1])
    assert dataset.status.values.tolist()[0::2] == ["failed", "running"]
    assert dataset.reason.values.tolist()[0::2] == ["NewtonError: step 3", "has not begun"]
    assert bool(dataset.facies.isnull().sel(member=[0, 2]).all())
    assert bool(dataset.facies.notnull().sel(member=1).all())
    assert "segment_members" not in dataset
    numbers = summary(dataset)
    assert (numbers["done"], numbers["running"], numbers["failed"]) == (1, 1, 1)
    assert numbers["reasons"] == {"0": "NewtonError: step 3"}


def test_a_member_that_cannot_be_simulated_closely_has_failed(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", case, method="prior", members=2)
    for i in range(2):
        advance(run, i, lambda _: None, lambda: False)
    broken = run.member(0).z

    def predict_but_one(run: Run, z: np.ndarray) -> object:
        return "NewtonError: step 2" if np.array_equal(z, broken) else predict(run, z)

    monkeypatch.setattr("rockbank.matching.results.posterior.predict", predict_but_one)
    dataset = posterior(run, Counted(run))
    assert dataset.status.values.tolist() == ["failed", "converged"]
    assert "NewtonError: step 2" in dataset.reason.values[0]
    assert bool(dataset.z.isnull().sel(member=0).all())


numbers = st.lists(st.floats(-3, 3), min_size=5, max_size=5).map(np.array).filter(lambda z: np.linalg.norm(z) > 0.1)


@given(a=numbers, b=numbers, t=st.floats(0, 1))
def test_spherical_interpolation_goes_along_the_great_circle(a: np.ndarray, b: np.ndarray, t: float) -> None:
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    angle = np.arccos(np.clip(a @ b, -1, 1))
    np.testing.assert_allclose(slerp(a, b, 0.0), a, atol=1e-12)
    np.testing.assert_allclose(slerp(a, b, 1.0), b, atol=1e-12)
    if 1e-3 < angle < np.pi - 1e-3:
        between = slerp(a, b, t)
        # arccos loses half of the digits near 0.
        assert np.linalg.norm(between) == pytest.approx(1, abs=1e-9)
        assert np.arccos(np.clip(a @ between, -1, 1)) == pytest.approx(t * angle, abs=1e-6)
