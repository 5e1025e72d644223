"""The sequential iteration with gravity and capillary pressure: its end is Newton's solution of the same equations."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from rockbank.flow import GRAVITY, Control, Fluid, Grid, Options, Phase, Rock, Schedule, State, Trajectory, Well
from rockbank.flow.equations.curves.relperm import SaturationFunctions
from rockbank.flow.equations.linearised import Unknowns
from rockbank.flow.equations.problem import Parameters, Problem, discretise
from rockbank.flow.equations.residual import Equations
from rockbank.flow.equations.well_controls import held_step
from rockbank.flow.kernels.counter_current import water_flux
from rockbank.flow.steppers import newton, sequential
from rockbank.flow.steppers.counter_current import CounterCurrentStepper
from tests.flow.saturation_functions import COREY, CURVES, SCALED

DAY = 86400.0
NEWTON = Options(method="newton", solver="direct", cnv=1e-10, mb=1e-12, max_iterations=60)
RATE, BHP = Control(kind="rate", target=60 / DAY), Control(kind="bhp", target=1e7)


def case(
    *,
    shape: tuple[int, int, int] = (9, 1, 6),
    curves: SaturationFunctions = COREY,
    c: float = 0.0,
    gravity: float = GRAVITY,
    days: tuple[float, ...] = (1.0, 4.0, 20.0, 60.0, 60.0, 200.0),
    holes: bool = False,
    wet: float = 0.0,
    seed: int = 0,
    **controls: Control | list[Control],
) -> tuple[Problem, Parameters]:
    """A rock whose permeabilities differ a hundredfold, water from below at one end, a producer above at the other.

    Args:
        holes: whether every tenth cell is missing.
        wet: largest part of the mobile water with which cells start, in no order, so that the phases change places.
    """
    nx, ny, nz = shape
    generator = torch.Generator().manual_seed(seed)
    wells = {"I": ("injector", [(0, 0, k) for k in range(nz // 2, nz)]),
             "P": ("producer", [(nx - 1, ny - 1, k) for k in range(nz)])}  # fmt: skip
    active = np.arange(nx * ny * nz).reshape(shape) % 10 != 4
    for _, cells in wells.values():
        active[tuple(np.transpose(cells))] = True
    grid = Grid(shape=shape, spacing=(20.0, 15.0, 4.0), top=1000.0, active=active if holes else None)
    lateral = 1e-13 * 100 ** (torch.rand(shape, generator=generator, dtype=torch.float64) - 0.5)
    rock = Rock(
        grid=grid,
        permeability=(lateral, lateral, 0.3 * lateral),
        porosity=0.2 + 0.1 * torch.rand(shape, generator=generator, dtype=torch.float64),
        compressibility=c,
        reference_pressure=1e7,
    )
    fluid = Fluid(
        water=Phase(viscosity=5e-4, density=1000.0, compressibility=c, reference_pressure=1e7),
        oil=Phase(viscosity=2e-3, density=750.0, compressibility=3 * c, reference_pressure=1e7),
        curves=curves,
        gravity=gravity,
    )
    placed = [Well(name=name, kind=kind, cells=cells) for name, (kind, cells) in wells.items()]
    schedule = Schedule(steps=np.array(days) * DAY, controls={"I": RATE, "P": BHP} | controls)
    least = float(curves.connate)
    saturation = least + wet * (0.8 - least) * torch.rand(shape, generator=generator, dtype=torch.float64)
    problem, parameters = discretise(rock, fluid, placed, schedule, State(pressure=1.2e7, saturation=saturation))
    return problem, parameters.detach()


CAPILLARY = replace(COREY, entry_pressure=5e3)
CASES: Mapping[str, dict[str, Any]] = {
    "a section": {},
    "a section in which the phases change places": {"wet": 0.9},
    "a box": {"shape": (5, 4, 3), "wet": 0.5},
    "a box with holes": {"shape": (5, 5, 4), "holes": True, "wet": 0.5, "seed": 3},
    "a layer without gravity, but with capillary pressure": {"shape": (7, 6, 1), "gravity": 0.0, "curves": CAPILLARY},
    "a section with capillary pressure": {"curves": CAPILLARY, "wet": 0.5},
    "a table with capillary pressure": {"curves": SCALED, "wet": 0.3},
    "powers": {"curves": CURVES["powers"], "wet": 0.5},
    "a table": {"curves": CURVES["table"], "seed": 2},
    "mobile water": {"curves": CURVES["table of mobile water"]},
    "compressible": {"c": 1e-9, "wet": 0.5},
    "compressible under rates": {"c": 1e-9, "P": Control(kind="rate", target=50 / DAY)},
    "compressible, with capillary pressure": {"shape": (5, 4, 3), "c": 2e-9, "curves": CAPILLARY},
    "two pressures": {"I": Control(kind="bhp", target=1.5e7), "seed": 1},
    "an oil rate": {
        "I": Control(kind="bhp", target=1.5e7),
        "P": Control(kind="oil", target=30 / DAY),
        "days": (1.0, 4.0, 20.0, 60.0),
    },
    "a limit that takes over": {"I": Control(kind="rate", target=120 / DAY, limit=1.3e7)},
    "a limit that changes": {
        "I": [
            Control(kind="rate", target=120 / DAY, limit=limit) for limit in (1.3e7, 1.3e7, 1.25e7, 1.28e7, None, 1.2e7)
        ],
    },
}


def solved(name: str, options: Options) -> tuple[Trajectory, Trajectory]:
    """By the sequential iteration and by Newton's method."""
    problem, parameters = case(**CASES[name])
    return sequential.run(problem, parameters, options), newton.run(problem, parameters, options)[0]


@pytest.mark.parametrize("name", CASES)
def test_its_end_is_the_fully_implicit_solution(name: str) -> None:
    ours, newtons = solved(name, NEWTON)
    assert [(of.method, of.note) for of in ours.reports] == [("sequential", of.note) for of in newtons.reports]
    assert all(of.n_steps == 1 for of in newtons.reports)
    # What 1e-10 of the pores leaves, many times over where a step takes many pore volumes through a cell.
    torch.testing.assert_close(ours.saturation, newtons.saturation, rtol=0, atol=1e-7)
    torch.testing.assert_close(ours.pressure, newtons.pressure, rtol=1e-7, atol=0)
    torch.testing.assert_close(ours.bhp, newtons.bhp, rtol=1e-7, atol=0)
    torch.testing.assert_close(ours.head, newtons.head, rtol=1e-6, atol=1e-3)
    assert (ours.kinds == newtons.kinds).all()


@pytest.mark.parametrize("name", ["a box with holes", "compressible, with capillary pressure", "an oil rate", "powers",
                                  "a table with capillary pressure"])  # fmt: skip
def test_the_loops_leave_in_each_cell_what_the_residual_says(name: str) -> None:
    problem, parameters = case(**CASES[name])
    of, rng = CounterCurrentStepper(problem, parameters, NEWTON), np.random.default_rng(5)
    before, place = of.unknowns(), of.ordering.place
    of.begin(0)
    of.p, of.s = of.p + rng.uniform(-2e4, 2e4, of.p.shape), rng.uniform(0.0, 1.0, of.s.shape)
    of.accumulation.update_pressure(of.p)
    of.linearise()
    of.wells.close(of.p)
    water, oil, _ = of.linearise(is_closed=True)
    step = held_step(Equations(problem, parameters), problem.steps[:1], np.zeros(1, int), of.wells.held[None], of.head)
    now: Unknowns = of.unknowns()
    expected = Equations(problem, parameters).linearise(now, before, step)
    # By the size of the terms: some ten of a few roundings each, of pressures of 1e7 Pa that differ by 1e4.
    size = np.abs(expected.cells.numpy()).max() + (of.accumulation.water + of.accumulation.oil).max()
    for got, phase in zip((water, oil), expected.cells[0].numpy().T, strict=True):
        np.testing.assert_allclose(got[place], phase, rtol=0, atol=1e-11 * size)


def upstream_by_trial(u: float, g: float, w: tuple[float, float], o: tuple[float, float]) -> float:
    """Water from the first cell to the second: mobilities of that choice of cells which the fluxes then agree with."""
    agreeing = []
    for k in (0, 1):
        for m in (0, 1):
            both = w[k] + o[m]
            f_w, f_o = w[k] / both * (u + o[m] * g), o[m] / both * (u - w[k] * g)
            # Phases drive as their fluxes by their mobilities.
            drive_w, drive_o = (u + o[m] * g) / both, (u - w[k] * g) / both
            if (drive_w >= 0) == (k == 0) and (drive_o >= 0) == (m == 0):
                assert f_w + f_o == pytest.approx(u, rel=1e-12)
                agreeing.append(f_w)
    assert max(agreeing) == pytest.approx(min(agreeing), rel=1e-12)
    return agreeing[0]


def test_mobilities_are_upstream_of_their_phases() -> None:
    rng = np.random.default_rng(1)
    for u, g, w_i, w_j, o_i, o_j in zip(*rng.uniform(-1, 1, (2, 500)), *rng.uniform(0.01, 1, (4, 500)), strict=True):
        for size in (0.1, 10.0):  # both flow alike, or gravity is stronger
            flux, _, _ = water_flux(u, size * g, w_i, o_i, w_j, o_j)
            assert flux == pytest.approx(upstream_by_trial(u, size * g, (w_i, w_j), (o_i, o_j)), rel=1e-12)
            back, _, _ = water_flux(-u, -size * g, w_j, o_j, w_i, o_i)
            assert back == pytest.approx(-flux, rel=1e-12)


@pytest.mark.parametrize("name", ["a section in which the phases change places", "compressible"])
def test_water_is_conserved_and_criteria_are_those_of_newton(name: str) -> None:
    options = Options()
    ours, newtons = solved(name, options)
    assert {of.method for of in ours.reports} == {"sequential"}
    assert max(of.residual for of in ours.reports) <= options.cnv
    torch.testing.assert_close(ours.saturation, newtons.saturation, rtol=0, atol=20 * options.cnv)


def test_newton_takes_steps_that_do_not_converge_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rockbank.flow.steppers.counter_current.MAX_ITERATIONS", 9)
    ours, newtons = solved("a section in which the phases change places", NEWTON)
    assert {of.method for of in ours.reports} == {"sequential", "newton"}
    assert all("newton: 9 iterations leave" in of.note for of in ours.reports if of.method == "newton")
    torch.testing.assert_close(ours.saturation, newtons.saturation, rtol=0, atol=1e-7)
    torch.testing.assert_close(ours.head, newtons.head, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize(
    "fluid", [{"gravity": True}, {"gravity": True, "compressible": True}, {"gravity": True, "curves": "capillary"}]
)
def test_gradients_have_second_order(reservoir: Any, fluid: dict[str, Any]) -> None:
    of = reservoir(shape=(4, 2, 3), steps=(2e5, 4e5, 8e5), **fluid)
    options = replace(NEWTON, method="sequential")
    # Along it no flow turns back, at which the equations have a kink.
    direction = torch.rand(of.permeability.shape, generator=torch.Generator().manual_seed(6)).double() - 0.3

    def misfit(x: torch.Tensor) -> torch.Tensor:
        result = of.run(rock=of.rock(permeability=of.permeability * (x * direction).exp()), options=options)
        assert {report.method for report in result.reports[0]} == {"sequential"}
        return result.oil_rate[:, 1].square().sum() * 1e9 + (result.bhp[:, 0] / 1e7).sum()

    x = torch.zeros((), dtype=torch.float64, requires_grad=True)
    value = misfit(x)
    slope, value = torch.autograd.grad(value, x)[0], value.detach()
    left = [abs(float(misfit(torch.tensor(h)).detach() - value - h * slope)) for h in (0.1, 0.05, 0.025)]
    assert min(np.log2(left[:-1]) - np.log2(left[1:])) > 1.9
