"""Prediction of a latent: its rock, and a close run through it until the end of the forecast."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from rockbank.flow.case import Case
from rockbank.flow.equations.problem import discretise
from rockbank.flow.equations.wells import Control, Schedule
from rockbank.flow.results.balance import balance
from rockbank.flow.simulate import simulate
from rockbank.matching.io.case_file import MatchCase
from rockbank.matching.methods.interface import MEMBER_ERRORS
from rockbank.matching.problem.observations import QUANTITIES, observables
from rockbank.matching.problem.parameterisation import Model
from rockbank.matching.problem.point import Evaluation, Parts, Vector
from rockbank.matching.run import Run

# What is reported is simulated closer than what is searched with.
_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """The rock of a latent, and a run through it until the end of the forecast.

    Attributes:
        z: the latent.
        facies: probability of sand, where the parameters know any.
        permeability: along x, m^2; its axes are turned round, as those of the dataset.
        porosity: dimensionless.
        parameters: those that are numbers.
        bhp: Pa.
        water_rate: m^3/s.
        oil_rate: m^3/s.
        oil_volume: m^3 since the start, of the steps that were really taken.
        simulated: where there are observations.
        parts: of the posterior's own objective, whatever a member was fitted to.
    """

    z: Vector
    facies: Float[np.ndarray, "*k j i"] | None
    permeability: Float[np.ndarray, "*k j i"]
    porosity: Float[np.ndarray, "*k j i"]
    parameters: Float[np.ndarray, " p"]
    bhp: Float[np.ndarray, "t w"]
    water_rate: Float[np.ndarray, "t w"]
    oil_rate: Float[np.ndarray, "t w"]
    oil_volume: Float[np.ndarray, "t w"]
    simulated: Float[np.ndarray, " n"]
    parts: Parts


def predict(run: Run, z: Vector) -> Prediction | str:
    """The prediction of a latent, or why it cannot be simulated."""
    objective, case = run.objective, with_forecast(run.case)
    at = torch.as_tensor(z, dtype=torch.float64)
    with torch.no_grad():
        variables = objective.rock.variables(at)
        facies = objective.rock.facies(variables)
    try:
        with torch.no_grad():
            model = objective.rock.model(variables, Model(rock=case.rock, fluid=case.fluid))
        curves = _simulated(replace(case, rock=model.rock, fluid=model.fluid), run)
    except MEMBER_ERRORS as error:
        return f"{type(error).__name__}: {error}"
    simulated = curves.pop("simulated")
    evaluation = Evaluation(
        at=at,
        variables=variables,
        facies=objective.facies.at(facies),
        simulated=torch.as_tensor(simulated),
    )
    return Prediction(
        z=np.asarray(z),
        facies=None if facies is None else facies.numpy().T,
        permeability=model.rock.components[0].numpy().T,
        porosity=model.rock.porosity.numpy().T,
        parameters=np.array(list(objective.rock.values(variables).values())),
        **curves,
        simulated=simulated,
        parts=objective.point(evaluation, objective.target()).parts,
    )


def predict_truth(run: Run, _: None) -> dict[str, Float[np.ndarray, "..."]]:
    """The curves of the case's own rock; none where it cannot be simulated."""
    try:
        return _simulated(with_forecast(run.case), run)
    except MEMBER_ERRORS:
        return {}


def with_forecast(case: MatchCase) -> Case:
    """The case with the forecast's steps after the history's, under the last controls."""
    schedule = case.case.schedule
    controls = {
        name: of if isinstance(of, Control) else [*of, *[of[-1]] * len(case.forecast)]
        for name, of in schedule.controls.items()
    }
    return replace(case.case, schedule=Schedule(steps=(*schedule.steps, *case.forecast), controls=controls))


def _simulated(case: Case, run: Run) -> dict[str, Float[np.ndarray, "..."]]:
    observations = run.case.observations
    places = observations.places(run.case.case.schedule.steps, [well.name for well in case.wells])
    with torch.no_grad():
        result = simulate(
            case.rock,
            case.fluid,
            case.wells,
            case.schedule,
            initial=case.initial,
            states=observations.states(places),
            options=replace(case.options, tolerance=_TOLERANCE),
        )
    curves = {name: getattr(result, name).numpy() for name in QUANTITIES}
    problem, parameters = discretise(case.rock, case.fluid, case.wells, case.schedule, case.initial)
    volumes = balance(problem, parameters, result.trajectories[0])
    return curves | {
        "oil_volume": volumes.injected[..., 1],
        "simulated": observables(result, places).numpy(),
    }


def slerp(a: Vector, b: Vector, t: float) -> Vector:
    """Spherical interpolation of latents with an angle w between them (Shoemake 1985).

    z(t) = (sin((1 - t) w) a + sin(t w) b) / sin(w)
    """
    cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    if np.sin(angle) < 1e-6:
        return (1 - t) * a + t * b
    return np.asarray((np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle))
