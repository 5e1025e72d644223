"""Parameters that are numbers: what multipliers of zones and faults and numbers of the curves have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.matching.problem.parameterisation import Group
from rockbank.matching.problem.parameters.prior import Prior


@dataclass(frozen=True, kw_only=True, eq=False)
class Numbers:
    """Numbers with a name and a prior each; a latent's number for each of them.

    Attributes:
        priors: of each, by its name.
    """

    priors: Mapping[str, Prior]

    @property
    def n_latent(self) -> int:
        """One for each number."""
        return len(self.priors)

    @property
    def groups(self) -> Sequence[Group]:
        """Each by itself."""
        return tuple(Group(name=name, n_latent=1, prior=str(prior)) for name, prior in self.priors.items())

    def variables(self, z: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """The numbers themselves."""
        return torch.stack([prior.of(z[..., i]) for i, prior in enumerate(self._each)], dim=-1)

    def jacobian(self, z: Float[np.ndarray, " n"]) -> Float[Tensor, "n n"]:
        """Diagonal: each number has a latent's of its own."""
        at = torch.as_tensor(z, dtype=torch.float64)
        return torch.diag(torch.stack([prior.slope(at[i]) for i, prior in enumerate(self._each)]))

    def facies(self, variables: Float[Tensor, "*b n"]) -> None:
        """Numbers know of none."""
        return

    def values(self, variables: Float[Tensor, " n"]) -> Mapping[str, float]:
        """By name."""
        return dict(zip(self.priors, variables.detach().tolist(), strict=True))

    @cached_property
    def _each(self) -> Sequence[Prior]:
        return tuple(self.priors.values())
