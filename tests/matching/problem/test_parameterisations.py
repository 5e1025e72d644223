"""Every parameterisation: its derivatives, those of the objective through it, a match by gradients and an ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

from rockbank.core.files import sha256
from rockbank.flow.equations.grid import Grid
from rockbank.matching.io.case_file import load_match_case
from rockbank.matching.io.fingerprint import fingerprints
from rockbank.matching.io.parameters.prior import PriorSection
from rockbank.matching.methods.workers import advance
from rockbank.matching.problem.parameterisation import Model
from rockbank.matching.problem.parameters.fields import principal_components
from rockbank.matching.problem.parameters.variogram import Variogram, karhunen_loeve
from rockbank.matching.results.compact import compact
from rockbank.matching.results.posterior import posterior
from rockbank.matching.results.report import to_html
from rockbank.matching.results.summary import summary, table
from rockbank.matching.run import Run
from rockbank.matching.settings import Settings
from tests.matching.tiny import make_run

SHAPE = (4, 3, 2)
CASE: dict[str, Any] = yaml.safe_load("""
title: A few cells
grid: {shape: [4, 3, 2], spacing: [20, 20, 5], inactive: {i: 3, j: 0, k: 1}}
rock:
  permeability: {x: {file: kx.npy}, y: {file: kx.npy}, z: 10 mD}
  porosity: 0.2
  compressibility: 1e-9
fluid:
  water: {viscosity: 1 cP, density: 1000}
  oil: {viscosity: 2 cP, density: 800}
  curves: {water: {residual: 0.2, span: 0.6}, oil: {residual: 0.2, span: 0.6}}
wells:
  INJ: {kind: injector, cells: {i: 0, j: 0, k: 0..1}}
  PROD: {kind: producer, cells: {i: 3, j: 2, k: 0..1}}
schedule:
  unit: day
  steps: [10, 30, 40]
  controls: {INJ: {rate: 30 m3/day}, PROD: {bhp: 150 bar}}
initial: {pressure: 200 bar, saturation: 0.2}
matching: {observations: {file: observations.csv}, forecast: [20], members: 3}
""")
# The second lies between the ends of two report steps.
OBSERVATIONS = """time,time_unit,well,quantity,value,sigma,unit
10,day,INJ,bhp,230,2,bar
60,day,PROD,water_rate,-8,2,m3/day
80,day,PROD,oil_rate,-12,2,m3/day
"""
DECK = """RUNSPEC
DIMENS
 4 3 1 /
OIL
WATER
METRIC
START
 1 JAN 2020 /
GRID
DX
 12*20 /
DY
 12*20 /
DZ
 12*5 /
TOPS
 12*2000 /
PERMX
 12*100 /
COPY
 PERMX PERMY /
 PERMX PERMZ /
/
PORO
 12*0.2 /
PROPS
PVTW
 200 1 4e-5 1 0 /
PVDO
 100 1.01 2 300 0.99 2 /
DENSITY
 800 1000 1 /
ROCK
 200 1e-5 /
SWOF
 0.2 0 1 0
 0.8 1 0 0 /
SOLUTION
EQUIL
 2000 200 3000 0 /
SCHEDULE
WELSPECS
 INJ G 1 1 1* WATER /
 PROD G 4 3 1* OIL /
/
COMPDAT
 INJ 2* 1 1 OPEN 2* 0.2 /
 PROD 2* 1 1 OPEN 2* 0.2 /
/
WCONINJE
 INJ WATER OPEN RATE 30 /
/
WCONPROD
 PROD OPEN BHP 5* 150 /
/
TSTEP
 10 30 40 /
END
"""
PRIOR = {"median": 1, "log_deviation": 0.5}
GAUSSIAN = {"median": "100 mD", "deviation": 0.7, "ranges": [50, 30, 8], "azimuth": 30, "components": 4}
CURVES = {"priors": {"water.exponent": {"low": 1.5, "high": 3}, "oil.residual": {"mean": 0.2, "deviation": 0.01}}}
SETS: dict[str, dict[str, Any]] = {
    "gaussian": {"k": {"gaussian": GAUSSIAN}},
    "porosity": {"phi": {"gaussian": GAUSSIAN | {"of": "porosity", "median": 0.2, "variogram": "spherical"}}},
    "ensemble": {"k": {"ensemble": {"file": "members.npz:permx", "unit": "mD", "members": "1..6", "components": 3}}},
    "zones": {"zones": {"multiplier": {"of": "permeability", "regions": {"file": "zones.npy"}, "prior": PRIOR,
                                       "priors": {"2": {"low": 0.5, "high": 2}}}}},
    "fault": {"fault": {"multiplier": {"behind": {"i": 1, "j": "0..2", "k": "0..1"}, "axis": "x", "prior": PRIOR}}},
    "curves": {"kr": {"curves": CURVES}},
    "several": {"kr": {"curves": CURVES}, "vertical": {"multiplier": {"of": "vertical permeability", "prior": PRIOR}},
                "k": {"gaussian": GAUSSIAN}},
}  # fmt: skip


def written(folder: Path, parameters: dict[str, Any], **keys: Any) -> Path:
    """A case file with its arrays."""
    rng = np.random.default_rng(3)
    np.save(folder / "kx.npy", 1e-13 * np.exp(0.5 * rng.standard_normal(SHAPE)))
    np.save(folder / "zones.npy", np.broadcast_to(np.array([1, 2]), SHAPE))
    np.savez(folder / "members.npz", permx=100 * np.exp(0.5 * rng.standard_normal((7, int(np.prod(SHAPE))))))
    (folder / "observations.csv").write_text(OBSERVATIONS)
    path = folder / "case.yaml"
    path.write_text(yaml.safe_dump(CASE | {"matching": CASE["matching"] | {"parameters": parameters} | keys}))
    return path


def opened(folder: Path, case: Path, **settings: Any) -> Run:
    """A run without a generator."""
    asked: dict[str, Any] = {"method": "gauss-newton", "members": 3, "seed": 3, "generator": ""} | settings
    inputs = fingerprints(load_match_case(case))
    return Run.create(folder, Settings(case=str(case), case_sha256=sha256(case), inputs=inputs, **asked))


def result(run: Run) -> xr.Dataset:
    """After all its members have ended."""

    def each(function: Any, arguments: Any) -> list[Any]:
        return [function(run, argument) for argument in arguments]

    if run.ensemble_method is not None:
        run.ensemble_method.run(run, run.settings.members, run.settings.seed, each)
    else:
        for i in range(run.settings.members):
            advance(run, i, lambda _: None, lambda: False)
    return posterior(run, each)


@pytest.mark.parametrize("name", SETS)
def test_the_jacobian_is_the_derivative_of_the_variables(name: str, tmp_path: Path) -> None:
    rock = opened(tmp_path / "run", written(tmp_path, SETS[name])).rock
    z = torch.as_tensor(np.random.default_rng(0).standard_normal(rock.n_latent))
    expected = torch.autograd.functional.jacobian(rock.variables, z).mT
    torch.testing.assert_close(rock.jacobian(z.numpy()), expected, rtol=1e-12, atol=1e-14)
    assert sum(group.n_latent for group in rock.groups) == rock.n_latent


@pytest.mark.parametrize("name", SETS)
def test_the_taylor_remainder_is_of_second_order(name: str, tmp_path: Path) -> None:
    objective = opened(tmp_path / "run", written(tmp_path, SETS[name])).objective
    rng = np.random.default_rng(1)
    z, direction = rng.standard_normal((2, objective.n_latent))
    target, tolerance = objective.target(), 1e-11
    here = objective.at(z, target, tolerance)
    slope, steps = here.gradient @ direction, [0.02, 0.01, 0.005]
    rest = [
        abs(objective.at(z + h * direction, target, tolerance).parts.total - here.parts.total - h * slope)
        for h in steps
    ]
    assert min(np.log2(np.array(rest[:-1]) / rest[1:])) > 1.9
    # The Jacobian goes by the variables' derivatives, the gradient by torch's.
    of_flow = here.linearise().jacobian.T @ here.residual
    np.testing.assert_allclose(of_flow + z, here.gradient, rtol=1e-8, atol=1e-8 * np.abs(here.gradient).max())


@pytest.mark.parametrize("method", ["gauss-newton", "es-mda"])
@pytest.mark.parametrize("name", SETS)
def test_a_match_reports_its_parameters_by_name(name: str, method: str, tmp_path: Path) -> None:
    run = opened(tmp_path / "run", written(tmp_path, SETS[name]), method=method, iterations=1)
    dataset = result(run)
    loss = table(dataset)
    assert (loss.status != "failed").all()
    # Three members of a smoother span two directions, in which the data need not lie.
    assert method == "es-mda" or (loss.posterior_loss < loss.prior_loss).all()
    owners = dict.fromkeys(dataset.latent_parameter.values.tolist())
    assert {owner.split(".")[0] for owner in owners} == set(SETS[name])
    numbers = [key for key in owners if "." in key or key in ("fault", "vertical")]
    assert [key for key in owners if f"posterior_parameter {key}" in loss] == numbers
    assert all(f"parameter {key}" in summary(dataset)["ensembles"]["posterior"] for key in numbers)
    if name == "several" and method == "es-mda":
        page = to_html(dataset)
        assert all(f'id="{picture}"' in page for picture in ("permeability", "members", "parameters"))
        assert all(key in page for key in numbers)
    again = compact(dataset)
    np.testing.assert_array_equal(table(again).posterior_loss, loss.posterior_loss)
    kept = np.isfinite(dataset.permeability.values)
    np.testing.assert_allclose(again.permeability.values[kept], dataset.permeability.values[kept], rtol=0.02)


@pytest.mark.parametrize(("method", "iterations"), [("pcn", 6), ("gauss-newton", 2)])
def test_an_impossible_trial_does_not_end_a_member(method: str, iterations: int, tmp_path: Path) -> None:
    """An exponent below 1, of a prior that allows it."""
    parameters = {"kr": {"curves": {"priors": {"water.exponent": {"mean": 1.3, "deviation": 1.0}}}}}
    settings = {"method": method, "members": 1, "iterations": iterations, "seed": 4}
    run = opened(tmp_path / "run", written(tmp_path, parameters), **settings)
    state = advance(run, 0, lambda _: None, lambda: False)
    assert state.status != "failed"
    assert method != "pcn" or state.memory["n_failed"] > 0


def test_an_observation_between_report_steps_is_simulated_at_its_time(tmp_path: Path) -> None:
    case = load_match_case(written(tmp_path, SETS["curves"]))
    np.testing.assert_allclose(np.cumsum(case.case.schedule.steps) / 86400, [10, 40, 60, 80])
    short = load_match_case(written(tmp_path, SETS["curves"], until="50 day"))
    np.testing.assert_allclose(np.cumsum(short.case.schedule.steps) / 86400, [10, 40, 50])
    assert short.observations.quantity == ("bhp",)


def test_images_of_a_generator_lie_on_a_layer(tmp_path: Path) -> None:
    text = CASE | {"grid": {"shape": [16, 16, 2], "spacing": [20, 20, 5]}, "rock": {"permeability": "100 mD",
                   "porosity": 0.2, "compressibility": 1e-9}}  # fmt: skip
    geology = {"porosity": None, "least_permeability": 1e-14, "least_porosity": 0.2}
    facies = {"file": "facies.csv"}
    text["matching"] = CASE["matching"] | {
        "parameters": {"top": {"generator": {"k": 0}}}, "geology": geology, "generator": "tiny", "facies": facies,
    }  # fmt: skip
    (tmp_path / "observations.csv").write_text(OBSERVATIONS)
    (tmp_path / "facies.csv").write_text("i,j,k,sand\n0,0,0,1\n3,2,0,0\n")
    path = tmp_path / "case.yaml"
    path.write_text(yaml.safe_dump(text))
    objective = make_run(tmp_path / "run", path).objective
    z = np.random.default_rng(0).standard_normal(objective.n_latent)
    point = objective.at(z, objective.target())
    model = objective.rock.model(
        point.evaluation.variables, Model(rock=objective.case.rock, fluid=objective.case.fluid)
    )
    k = model.rock.components[0].detach()
    assert k[..., 0].std() > 0
    torch.testing.assert_close(k[..., 1], objective.case.rock.components[0][..., 1])
    sand = objective.rock.facies(point.evaluation.variables)
    assert sand is not None
    torch.testing.assert_close(point.evaluation.facies, sand.detach()[[0, 3], [0, 2], [0, 0]])
    of_flow = point.linearise().jacobian.T @ point.residual + point.wells_gradient
    # The generator's derivative is of single precision.
    np.testing.assert_allclose(of_flow + z, point.gradient, rtol=1e-3, atol=1e-3 * np.abs(point.gradient).max())


@pytest.mark.parametrize("shape", ["exponential", "gaussian", "spherical"])
def test_directions_give_the_covariance_of_the_variogram(shape: Any) -> None:
    active = np.ones((6, 5, 2), dtype=bool)
    active[2, 3, 0] = False
    grid = Grid(shape=active.shape, spacing=(10.0, 12.0, 3.0), active=active)
    variogram = Variogram(shape=shape, ranges=(40.0, 20.0, 5.0), azimuth=25.0)
    basis, kept = karhunen_loeve(grid, variogram, grid.n_cells)
    centres = np.argwhere(active) * np.array([10.0, 12.0, 3.0])
    expected = variogram.correlation(*np.moveaxis(centres[:, None] - centres[None], -1, 0))
    # What is left of eigenvalues of nearly 0, below round-off of the largest.
    np.testing.assert_allclose(basis @ basis.T, expected, atol=1e-6)
    assert kept == pytest.approx(1, abs=1e-6)
    few, part = karhunen_loeve(grid, variogram, 3)
    np.testing.assert_allclose(few, basis[:, :3], atol=1e-8)
    assert part < kept


def test_principal_components_give_the_ensembles_own_covariance() -> None:
    samples = np.random.default_rng(0).standard_normal((6, 20))
    mean, basis, kept = principal_components(samples, 5)
    np.testing.assert_allclose(mean, samples.mean(axis=0), atol=1e-14)
    np.testing.assert_allclose(basis @ basis.T, np.cov(samples.T), atol=1e-12)
    assert kept == pytest.approx(1)
    with pytest.raises(ValueError, match="components: got 6; 6 members have 1 to 5"):
        principal_components(samples, 6)


@pytest.mark.parametrize(
    "section", [{"mean": 2.0, "deviation": 0.5}, {"median": 2.0, "log_deviation": 0.5}, {"low": 1.0, "high": 3.0}]
)
def test_a_prior_has_its_quantiles(section: dict[str, float]) -> None:
    prior = PriorSection(**section).build()
    z = torch.tensor([0.0, 1.0, -40.0, 40.0], dtype=torch.float64)
    x = prior.of(z)
    assert x[0] == pytest.approx(2.0)
    expected = {"normal": 2.5, "log-normal": 2 * np.exp(0.5), "uniform": 1 + 2 * 0.8413447460685429}[prior.law]
    assert x[1] == pytest.approx(expected, rel=1e-12)
    assert x[2] >= prior.least or prior.law == "normal"


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"k": {}}, "matching.parameters.k.gaussian: got []; give one of"),
        ({"k": {"gaussian": GAUSSIAN | {"components": 99}}}, "matching.parameters.k: components: got 99; a grid of 23"),
        ({"k": {"gaussian": GAUSSIAN | {"ranges": [5, 5]}}}, "parameters.k: ranges: the grid has layers"),
        ({"k": {"ensemble": {"file": "none.npy", "components": 3}}}, "parameters.k: .*none.npy: no such file"),
        ({"k": {"ensemble": {"file": "members.npz:permx", "components": 7}}}, "components: got 7; 7 members have"),
        ({"z": {"multiplier": {"of": "porosity", "regions": "FIPNUM", "prior": PRIOR}}}, "no array 'FIPNUM'"),
        ({"z": {"multiplier": {"fault": "F", "prior": PRIOR}}}, "parameters.z: fault: the case has no 'F'"),
        ({"z": {"multiplier": {"of": "porosity", "prior": {"mean": 1, "deviation": 1}}}}, "negative numbers"),
        ({"kr": {"curves": {"priors": {"gas.end": PRIOR}}}}, "priors: unknown key 'gas.end'"),
        ({"a/b": {"gaussian": GAUSSIAN}}, "parameters: got the name 'a/b'"),
    ],
)
def test_what_is_impossible_is_refused_with_file_and_key(parameters: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = written(tmp_path, parameters)
    with pytest.raises(ValueError, match=says.replace("[]", r"\[\]")) as error:
        _ = opened(tmp_path / "run", path).objective
    assert str(error.value).startswith(f"{path}: ")


def test_a_decks_regions_and_faults_are_parameters(tmp_path: Path) -> None:
    """And its table of relative permeability gives way to a law."""
    plain = yaml.safe_load((written(tmp_path, SETS["curves"])).read_text())
    deck = DECK.replace("PORO\n", "FAULTS\n F 2 2 1 3 1 1 X /\n/\nPORO\n").replace(
        "SOLUTION\n", "REGIONS\nFIPNUM\n 6*1 6*2 /\nSOLUTION\n"
    )
    (tmp_path / "SMALL.DATA").write_text(deck)
    law = {"water": {"residual": 0.2, "span": 0.6}, "oil": {"residual": 0.2, "span": 0.6}}
    parameters = {
        "fault": {"multiplier": {"fault": "F", "prior": PRIOR}},
        "zones": {"multiplier": {"of": "porosity", "regions": "FIPNUM", "prior": {"low": 0.8, "high": 1.2}}},
        "kr": {"curves": CURVES | {"law": law}},
    }
    path = tmp_path / "case.yaml"
    keys = plain["matching"] | {"parameters": parameters}
    path.write_text(yaml.safe_dump({"deck": "SMALL.DATA", "matching": keys}))
    objective = opened(tmp_path / "run", path).objective
    names = [group.name for group in objective.rock.groups]
    # YAML is written in the order of its keys.
    assert names == ["fault", "kr.oil.residual", "kr.water.exponent", "zones.1", "zones.2"]
    z = np.array([0.5, -0.3, 0.2, 0.4, -0.6])
    own = Model(rock=objective.case.rock, fluid=objective.case.fluid)
    model = objective.rock.model(objective.rock.variables(torch.as_tensor(z)), own)
    assert model.rock.face_multiplier is not None
    # Three rows of cells, one layer.
    assert int((model.rock.face_multiplier != 1).sum()) == 3
    assert len(model.rock.porosity.unique()) == 2
    point = objective.at(z, objective.target(), 1e-10)
    assert np.isfinite(point.gradient).all()
    assert (point.gradient != z).all()
