"""Adam on the latent, with the steps of DeepFlow's published code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from rockbank.matching.methods.state import NOTHING_OBSERVED, Record, State
from rockbank.matching.methods.status import CONVERGED, MAX_ITERATIONS_REACHED
from rockbank.matching.problem.cost import Cost
from rockbank.matching.problem.objective import Objective
from rockbank.matching.problem.point import Target, Vector


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam (Kingma and Ba 2015) with DeepFlow's step and betas.

    Attributes:
        max_iterations: gradients.
        learning_rate: step.
        betas: of the moments.
        tolerance: of the simulator; at 1e-3 a gradient is within 2e-5 of an exact one.
    """

    max_iterations: int = 500
    learning_rate: float = 3e-2
    betas: tuple[float, float] = (0.9, 0.999)
    tolerance: float = 1e-3

    @property
    def iteration_cost(self) -> Cost:
        """A gradient, and the run that it goes back through."""
        return Cost(forward=1, gradients=1)

    def start(self, objective: Objective, target: Target, z: Vector) -> State:
        """At a prior draw, which is also the end where nothing was observed."""
        point = objective.at(z, target, self.tolerance)
        record = Record(z=point.z, parts=point.parts, cost=Cost(forward=int(objective.has_flow)))
        zero = np.zeros_like(record.z)
        memory = {"step": np.array(0.0), "exp_avg": zero, "exp_avg_sq": zero}
        state = State(records=(record,), point=point, memory=memory)
        if not (objective.has_flow or objective.has_wells):
            return state.ended(CONVERGED, NOTHING_OBSERVED)
        return state

    def step(self, objective: Objective, target: Target, state: State) -> State:
        """One gradient, one step."""
        last = state.last
        point = state.point or objective.at(last.z, target, self.tolerance)
        z = torch.tensor(last.z, requires_grad=True)
        optimiser = torch.optim.Adam([z], lr=self.learning_rate, betas=self.betas)
        # The count of steps is a float32 tensor in torch's own state.
        kinds = {"step": torch.float32}
        optimiser.state[z] = {
            name: torch.tensor(value, dtype=kinds.get(name, z.dtype)) for name, value in state.memory.items()
        }
        z.grad = torch.as_tensor(point.gradient)
        optimiser.step()
        point = objective.at(z.detach().numpy(), target, self.tolerance)
        n_runs = int(objective.has_flow)
        cost = last.cost + Cost(forward=n_runs, gradients=n_runs)
        memory = {name: value.numpy() for name, value in optimiser.state[z].items()}
        state = state.then(Record(z=point.z, parts=point.parts, cost=cost), point, memory)
        if len(state.records) > self.max_iterations:
            return state.ended(MAX_ITERATIONS_REACHED, f"{self.max_iterations} gradients")
        return state
