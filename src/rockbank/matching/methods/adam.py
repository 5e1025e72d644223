"""Adam on the latent, with the steps of DeepFlow's published code, and the prior draw itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from rockbank.matching.methods.state import NOTHING_OBSERVED, SPENT, Record, State
from rockbank.matching.problem.objective import Cost, Objective, Target, Vector


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Scenario 1: a draw of the prior as it is."""

    tolerance: float = 1e-4

    def start(self, objective: Objective, target: Target, z: Vector) -> State:
        """The draw, simulated once where the flow counts."""
        evaluation = objective.evaluate(z, self.tolerance)
        record = Record(
            z=evaluation.z, parts=objective.parts(evaluation, target), cost=Cost(forward=int(objective.has_flow))
        )
        return State(records=(record,)).ended("converged", "a draw of the prior")

    def step(self, objective: Objective, target: Target, state: State) -> State:
        """Nothing follows."""
        return state


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

    def start(self, objective: Objective, target: Target, z: Vector) -> State:
        """At a prior draw, which is also the end where nothing was observed."""
        evaluation = objective.evaluate(z, self.tolerance)
        cost = Cost(forward=int(objective.has_flow))
        record = Record(z=evaluation.z, parts=objective.parts(evaluation, target), cost=cost)
        zero = np.zeros_like(record.z)
        memory = {"step": np.array(0.0), "exp_avg": zero, "exp_avg_sq": zero}
        state = State(records=(record,), evaluation=evaluation, memory=memory)
        if not (objective.has_flow or objective.has_wells):
            return state.ended("converged", NOTHING_OBSERVED)
        return state

    def step(self, objective: Objective, target: Target, state: State) -> State:
        """One gradient, one step."""
        last = state.last
        at = state.evaluation or objective.evaluate(last.z, self.tolerance)
        z = torch.tensor(last.z, requires_grad=True)
        optimiser = torch.optim.Adam([z], lr=self.learning_rate, betas=self.betas)
        # The count of steps is a float32 tensor in torch's own state.
        kinds = {"step": torch.float32}
        optimiser.state[z] = {
            name: torch.tensor(value, dtype=kinds.get(name, z.dtype)) for name, value in state.memory.items()
        }
        z.grad = torch.as_tensor(objective.gradient(at, target))
        optimiser.step()
        then = objective.evaluate(z.detach().numpy(), self.tolerance)
        n_runs = int(objective.has_flow)
        cost = last.cost + Cost(forward=n_runs, gradients=n_runs)
        parts = objective.parts(then, target)
        memory = {name: value.numpy() for name, value in optimiser.state[z].items()}
        state = state.then(Record(z=then.z, parts=parts, cost=cost), then, memory)
        if len(state.records) > self.max_iterations:
            return state.ended(SPENT, f"{self.max_iterations} iterations")
        return state
