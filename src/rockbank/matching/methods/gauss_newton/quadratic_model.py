"""The model of the objective about one latent that a Gauss-Newton step minimises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float

from rockbank.matching.problem.point import Vector


@dataclass(frozen=True, kw_only=True, eq=False)
class QuadraticModel:
    """g^T dz + dz^T H dz / 2 in the eigenvectors of H, where any damping is a division.

    Attributes:
        residual: where it is made.
        jacobian: of it.
        values: eigenvalues of H, ascending.
        vectors: in columns.
        slope: g along each.
    """

    residual: Float[np.ndarray, " n_obs"]
    jacobian: Float[np.ndarray, "n_obs n"]
    values: Vector
    vectors: Float[np.ndarray, "n n"]
    slope: Vector

    @classmethod
    def of(
        cls,
        residual: Float[np.ndarray, " n_obs"],
        jacobian: Float[np.ndarray, "n_obs n"],
        wells_gradient: Vector,
        wells_hessian: Float[np.ndarray, "n n"],
        from_prior_mean: Vector,
        precision: float,
        emphasis: float,
    ) -> Self:
        """Of the objective with the wells' term times `emphasis`."""
        gradient = jacobian.T @ residual + precision * from_prior_mean + emphasis * wells_gradient
        hessian = jacobian.T @ jacobian + precision * np.eye(len(from_prior_mean)) + emphasis * wells_hessian
        values, vectors = np.linalg.eigh(hessian)
        return cls(residual=residual, jacobian=jacobian, values=values, vectors=vectors, slope=vectors.T @ gradient)

    def damping(self, fraction: float) -> float:
        """With which the predicted reduction is `fraction` of the most."""
        most = self.predicted_reduction(0.0)
        # 60 halvings of a bracket of 24 decades.
        low, high = -8.0, 16.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.predicted_reduction(10**middle) >= fraction * most else (low, middle)
        return float(10**low)

    def predicted_reduction(self, damping: float) -> float:
        """Of the objective, by a step with that damping, if the model holds."""
        along = self.slope / (self.values + damping)
        return float(along @ self.slope - 0.5 * along @ (self.values * along))

    def step(self, damping: float, model_error: Float[np.ndarray, " n_obs"] | None = None) -> Vector:
        """The step with that damping, where the residuals differ by `model_error` from the model's."""
        slope = self.slope if model_error is None else self.slope + self.vectors.T @ (self.jacobian.T @ model_error)
        return np.asarray(-self.vectors @ (slope / (self.values + damping)))
