"""The published case against MRST: its states and observables, its cut steps, and its adjoint."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from rockbank.flow import (
    BrooksCorey,
    Control,
    Corey,
    Fluid,
    Grid,
    Options,
    Phase,
    Result,
    Rock,
    Schedule,
    State,
    Well,
    simulate,
)

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "flow"
DAY = 86400.0
SECTIONS = ("reference", "seed0", "homogeneous")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="MRST's runs are not beside the repository (../shared/data/flow)"),
]

# MRST's tight runs are converged to 1e-10 in whole steps, of which some take more than thirty iterations.
TIGHT = {"cnv": 1e-10, "mb": 1e-12, "max_iterations": 60, "tolerance": 1e-10}
WAYS = [(section, *way) for section in SECTIONS for way in [("sequential", "auto"), ("newton", "slabs")]]
# Newton with MRST's tolerances has the direct solver; that its gradients are the others', tests/flow/adjoint has.
ways = pytest.mark.parametrize(("section", "method", "solver"), WAYS)
sections = pytest.mark.parametrize("section", SECTIONS)


@dataclass(frozen=True)
class Run:
    """A run of ours with what MRST says of it."""

    mrst: dict[str, np.ndarray]
    result: Result
    permeability: torch.Tensor
    porosity: torch.Tensor
    ends: np.ndarray  # of our report steps, those that MRST reports


@cache
def data(name):
    with np.load(DATA / f"{name}.npz") as file:
        return dict(file)


@cache
def run(name, method, solver, cut=False, **options):
    """The published case on one of its rocks; `cut` halves the steps that MRST halved."""
    mrst = data(f"mrst_{name}")
    grid = Grid(shape=(128, 64), spacing=(4.0, 4.0, 10.0))
    k, phi = (torch.tensor(mrst[of]).requires_grad_() for of in ("perm", "poro"))
    fluid = Fluid(
        water=Phase(viscosity=0.3e-3, density=1000.0),
        oil=Phase(viscosity=5e-3, density=700.0),
        curves=BrooksCorey(water_curve=Corey(residual=0.15, span=0.75), oil_curve=Corey(residual=0.12, span=0.78)),
    )
    # The published code gives every rock the well indices of the reference, and none of them a gradient.
    index = torch.tensor(mrst["WI"])
    wells = [
        Well(name=name, kind=kind, cells=[(i, j) for j in range(64)], axis=1, index=index[:, w])
        for w, (name, kind, i) in enumerate([("I", "injector", 7), ("P", "producer", 119)])
    ]
    pieces = 1 + (mrst["timestep_cuts"] if cut else np.zeros(37, dtype=int))
    schedule = Schedule(
        steps=np.repeat(mrst["dt_s"] / pieces, pieces),
        controls={"I": Control(kind="rate", target=300 / DAY), "P": Control(kind="bhp", target=150e5)},
    )
    result = simulate(
        Rock(grid=grid, permeability=k, porosity=phi),
        fluid,
        wells,
        schedule,
        initial=State(pressure=200e5),
        options=Options(method=method, solver=solver, **options),
    )
    return Run(mrst=mrst, result=result, permeability=k, porosity=phi, ends=np.cumsum(pieces) - 1)


def misfit(result, kind):
    """The published objective; as it was executed, a file's integer type took the oil out of it."""
    seen = data("observations")
    sigma_q, sigma_p = float(seen["sigma_q"]), float(seen["sigma_p"])
    of_bhp, of_water, of_oil = (
        ((got - torch.tensor(seen[f"{name}_noisy"])) / sigma).square()
        for got, name, sigma in (
            (result.bhp, "bhp", sigma_p),
            (result.water_rate, "qWs", sigma_q),
            (result.oil_rate, "qOs", sigma_q),
        )
    )
    parts = of_bhp + of_water + (of_oil if kind == "intended" else 0.0)
    weights = torch.tensor(seen["dt_s"]) / (4 * 600 * DAY)
    return (weights[:, None] * parts).sum()


def differences(of):
    """From MRST at its report steps: bottom-hole pressures (relative), rates (m^3/day), fields (relative, absolute)."""
    result, mrst = of.result, of.mrst
    bhp, water, oil = (got.detach().numpy()[of.ends] for got in (result.bhp, result.water_rate, result.oil_rate))
    rates = max(np.abs(water - mrst["qWs"]).max(), np.abs(oil - mrst["qOs"]).max()) * DAY
    (trajectory,) = result.trajectories
    pressure, saturation = [], []
    for name, report in (("step1", 0), ("step10", 9), ("final", 36)):
        state = trajectory.ends[of.ends[report]] + 1
        pressure.append(np.abs(trajectory.pressure[state].numpy() / mrst[f"pressure_{name}"].ravel() - 1).max())
        saturation.append(np.abs(trajectory.saturation[state].numpy() - mrst[f"sw_{name}"].ravel()).max())
    return np.abs(bhp / mrst["bhp"] - 1).max(), rates, max(pressure), max(saturation)


@ways
def test_converged_runs_agree(section, method, solver):
    bhp, rates, pressure, saturation = differences(run(f"{section}_tight", method, solver, **TIGHT))
    assert bhp < 1e-6
    assert rates < 0.01
    assert pressure < 1e-5
    assert saturation < 1e-5


@ways
@pytest.mark.parametrize("kind", ["intended", "executed"])
def test_gradients_of_the_published_misfit_agree(section, method, solver, kind):
    of = run(f"{section}_tight", method, solver, **TIGHT)
    objective = misfit(of.result, kind)
    assert objective.item() == pytest.approx(float(of.mrst[f"misfit_{kind}"]), rel=1e-6)
    # MRST's are theta dJ/dtheta for a multiplier theta of pore volume and of permeability along x and y.
    by = {name: of.mrst[f"dJ_{kind}_dlog_{name}"] for name in ("porevolume", "permx", "permy")}
    expected = (by["permx"] + by["permy"]) / of.mrst["perm"], by["porevolume"] / of.mrst["poro"]
    got = torch.autograd.grad(objective, (of.permeability, of.porosity), retain_graph=True)
    for ours, theirs in zip(got, expected, strict=True):
        assert np.linalg.norm(ours.numpy() - theirs) < 1e-5 * np.linalg.norm(theirs)


@sections
def test_newton_with_mrsts_tolerances_takes_mrsts_iterations_and_cuts(section):
    of = run(section, "newton", "direct")
    (reports,) = of.result.reports
    cuts = of.mrst["timestep_cuts"]
    assert [report.n_steps - 1 for report in reports] == cuts.tolist()
    # MRST counts the look at the residual after the last iteration of a try that fails.
    assert [report.iterations for report in reports] == (of.mrst["newton_iterations"] - cuts).tolist()
    bhp, rates, pressure, saturation = differences(of)
    assert max(bhp, pressure, saturation) < 1e-5
    # MRST reports the rates that its last linear system predicted, which is off by what the tolerance leaves.
    assert rates < 1e-5 * 300


@sections
def test_converged_runs_agree_with_mrsts_own_tolerances_on_its_cut_steps(section):
    bhp, rates, pressure, saturation = differences(run(section, "sequential", "slabs", cut=True, tolerance=1e-6))
    assert bhp < 1e-5
    assert rates < 1e-5 * 300
    # MRST leaves volume errors of up to 1e-3 pore volumes in a cell, which show in the fields.
    assert pressure < 1e-4
    assert saturation < 1e-3
