"""What went in, what came out and what is left: the volumes of a run, and how well they balance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from rockbank.flow.equations.linearised import Step, Unknowns
from rockbank.flow.equations.problem import Parameters, Problem
from rockbank.flow.equations.residual import Equations
from rockbank.flow.equations.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True, eq=False)
class Balance:
    """Volumes of water and oil at their reference pressures, m^3; the last axis is (water, oil).

    Attributes:
        injected: through each well up to each report step, positive into the reservoir.
        in_place: in the reservoir, at the start and at each report step.
        pore_volume: of the reservoir at the reference pressure.
    """

    injected: Float[np.ndarray, "t w 2"]
    in_place: Float[np.ndarray, "t+1 2"]
    pore_volume: float

    @property
    def mass_balance_error(self) -> float:
        """The largest gain of a phase in place beyond what the wells injected, by the pore volume.

        Newton's tolerance `mb` bounds it in each step.
        """
        beyond = self.in_place[1:] - self.in_place[0] - self.injected.sum(axis=1)
        return float(np.abs(beyond).max() / self.pore_volume)

    @property
    def recovery(self) -> float:
        """The part of the oil in place that has been produced."""
        oil = float(self.in_place[0, 1])
        return float(-self.injected[-1, :, 1].sum()) / oil if oil > 0 else 0.0


def balance(problem: Problem, parameters: Parameters, trajectory: Trajectory) -> Balance:
    """The volumes of one member's run, from the steps that it really took."""
    with torch.no_grad():
        stored = _in_place(problem, parameters, trajectory)
        kinds = torch.as_tensor(trajectory.kinds, device=trajectory.bhp.device)
        # The steps are a batch; rates ask neither for lengths nor for targets.
        now = Unknowns(pressure=trajectory.pressure[1:], saturation=trajectory.saturation[1:], bhp=trajectory.bhp)
        step = Step(length=trajectory.bhp[:, 0], kinds=kinds, targets=trajectory.bhp, head=trajectory.head)
        rates = Equations(problem, parameters).rates(now, step).cpu().numpy()
    injected = np.cumsum(rates * trajectory.steps[:, None, None], axis=0)
    ends = trajectory.ends
    return Balance(
        injected=injected[ends],
        in_place=stored[np.concatenate([[0], ends + 1])],
        pore_volume=float(parameters.pore_volume.detach().sum()),
    )


def _in_place(problem: Problem, parameters: Parameters, trajectory: Trajectory) -> Float[np.ndarray, "m+1 2"]:
    """Sum over the cells of pore volume, b and saturation, of each phase."""
    now = Unknowns(pressure=trajectory.pressure, saturation=trajectory.saturation, bhp=trajectory.bhp)
    volumes = Equations(problem, parameters).stored(now) * parameters.pore_volume
    return volumes.sum(dim=-1).T.cpu().numpy()
