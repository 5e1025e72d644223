"""Make observations of a run: what its wells show, and noise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from rockbank.core.errors import InputError
from rockbank.core.files import require_writable
from rockbank.flow.case import Case
from rockbank.flow.simulate import Result
from rockbank.flow.units import Quantity as Unit
from rockbank.matching.io.csv import DIMENSIONS, write_observations
from rockbank.matching.io.curves import Curve, from_curves
from rockbank.matching.problem.observations import QUANTITIES, Observations, Quantity
from rockbank.workflows.simulate import simulated

Observed = tuple[tuple[str, Quantity], ...]
_WELL = re.compile(r"([^:]+):([^:]+)")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be observed.

    Attributes:
        observed: wells and quantities.
        sigma: standard deviation of each quantity, SI.
        seed: of the noise.
        output: a CSV.
    """

    observed: Observed
    sigma: Mapping[Quantity, float]
    seed: int
    output: Path

    def __post_init__(self) -> None:
        if self.output.suffix.lower() != ".csv":
            raise InputError(f"--output: got '{self.output}'; use a name that ends in .csv")
        require_writable(self.output)
        for well, quantity in self.observed:
            if quantity not in self.sigma:
                option = "--sigma-bhp" if quantity == "bhp" else "--sigma-rate"
                raise InputError(f"{option}: is missing for {quantity} of {well}; say how far it is to be trusted")


def read_observed(text: str | None, case: Case) -> Observed:
    """Wells and quantities of "INJ:bhp PROD:water_rate,oil_rate".

    Without a text they are the injectors' pressures and both rates of the producers.

    Raises:
        InputError: naming the well or the quantity that is not known.
    """
    wells = [well.name for well in case.wells]
    if text is None:
        of_kind: dict[str, tuple[Quantity, ...]] = {"injector": ("bhp",), "producer": ("water_rate", "oil_rate")}
        return tuple((well.name, quantity) for well in case.wells for quantity in of_kind[well.kind])
    found: list[tuple[str, Quantity]] = []
    for part in text.split():
        match = _WELL.fullmatch(part)
        if match is None:
            raise InputError(f"--observed: got '{part}'; write such as 'INJ:bhp PROD:water_rate,oil_rate'")
        if match[1] not in wells:
            raise InputError(f"--observed: no well '{match[1]}'; the case has {wells}")
        for quantity in match[2].split(","):
            if quantity not in QUANTITIES:
                raise InputError(f"--observed: got '{quantity}' of {match[1]}; known are {list(QUANTITIES)}")
            if (match[1], quantity) in found:
                raise InputError(f"--observed: {quantity} of {match[1]} is there twice; keep one")
            found.append((match[1], cast(Quantity, quantity)))
    if not found:
        raise InputError("--observed: got nothing; write such as 'INJ:bhp PROD:water_rate,oil_rate'")
    return tuple(found)


def read_sigma(bhp: str | None, rate: str | None) -> dict[Quantity, float]:
    """Standard deviations of texts such as "2 bar" and "9 m3/day"; InputError names the option."""
    found: dict[Quantity, float] = {}
    for option, text, dimension in (("--sigma-bhp", bhp, "pressure"), ("--sigma-rate", rate, "rate")):
        if text is None:
            continue
        try:
            sigma = Unit(dimension)(text)
        except InputError as error:
            raise InputError(f"{option}: {error}") from error
        if not 0 < sigma < np.inf:
            raise InputError(f"{option}: got '{text}'; it must be positive")
        found |= {quantity: sigma for quantity in QUANTITIES if DIMENSIONS[quantity] == dimension}
    return found


def run(case: Case, plan: Plan) -> Observations:
    """Simulate the case behind a progress bar, and write what is observed, whole or not at all."""
    observations = measure(case, simulated(case), plan)
    write_observations(plan.output, observations)
    return observations


def measure(case: Case, result: Result, plan: Plan) -> Observations:
    """What a run shows after each report step, plus noise of N(0, sigma^2) that the seed alone decides.

    The noise is drawn in the order of Observations: the order of `observed` changes nothing.
    """
    wells = [well.name for well in case.wells]
    curves: dict[tuple[str, Quantity], Curve] = {
        (well, quantity): (result.time, getattr(result, quantity)[:, wells.index(well)].detach().numpy(), None)
        for well, quantity in plan.observed
    }
    clean = from_curves(curves, plan.sigma)
    noise = np.random.Generator(np.random.Philox(plan.seed)).standard_normal(len(clean))
    value = clean.value + clean.sigma * noise
    for i in np.flatnonzero((value <= 0) & (np.array(clean.quantity) == "bhp")):
        raise InputError(f"--sigma-bhp: with noise the {clean.name(int(i))} is {value[i]:g} Pa, which no pressure can "
                         "be; give a smaller one, or observe other wells")  # fmt: skip
    return Observations(time=clean.time, well=clean.well, quantity=clean.quantity, value=value, sigma=clean.sigma)


def about_plan(case: Case, plan: Plan) -> dict[str, str]:
    """What will be observed, in words."""
    quantities = {well: [of for name, of in plan.observed if name == well] for well, _ in plan.observed}
    return {
        "observed": "; ".join(f"{well}: {', '.join(names)}" for well, names in quantities.items()),
        "observations": str(len(plan.observed) * len(case.schedule.steps)),
        "standard deviations": ", ".join(
            f"{quantity} {plan.sigma[quantity]:g} {'Pa' if quantity == 'bhp' else 'm3/s'}"
            for quantity in QUANTITIES
            if any(quantity == of for _, of in plan.observed)
        ),
        "seed of the noise": str(plan.seed),
    }
