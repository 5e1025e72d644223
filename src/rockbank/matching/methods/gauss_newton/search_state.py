"""What a Gauss-Newton member goes on from, besides its iterates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float

from rockbank.matching.methods.state import State


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchState:
    """Between two Jacobians.

    Attributes:
        fraction: of the model's most reduction that the next step asks for.
        tolerance: of the simulator, at the last iterate.
        i_start: of the prior's draws, which the member last started from.
        n_slow: Jacobians in a row that reduced the objective by little.
        basis: directions of the residuals that the last Jacobian showed most of; none before the first.
    """

    fraction: float
    tolerance: float
    i_start: int
    n_slow: int
    basis: Float[np.ndarray, "n_obs k"]

    @classmethod
    def at_start(cls, i_start: int, fraction: float, tolerance: float) -> Self:
        """Before the first Jacobian of a start."""
        return cls(fraction=fraction, tolerance=tolerance, i_start=i_start, n_slow=0, basis=np.zeros((0, 0)))

    @classmethod
    def of(cls, state: State) -> Self:
        """Of a member, from its checkpoint or not."""
        memory = state.memory
        return cls(
            fraction=float(memory["fraction"]),
            tolerance=float(memory["tolerance"]),
            i_start=int(memory["i_start"]),
            n_slow=int(memory["n_slow"]),
            basis=memory["basis"],
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """As a checkpoint holds it."""
        numbers = {"fraction": self.fraction, "n_slow": self.n_slow, "tolerance": self.tolerance,
                   "i_start": self.i_start}  # fmt: skip
        return {name: np.array(float(value)) for name, value in numbers.items()} | {"basis": self.basis}


def n_starts(state: State) -> int:
    """Draws of the prior that a member of any method started from."""
    return int(state.memory.get("i_start", 0)) + 1
