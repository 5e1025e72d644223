"""Several parameterisations together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.matching.problem.parameterisation import Group, Model, Parameterisation
from rockbank.matching.problem.parameters.numbers import Numbers


class Joint:
    """Parts whose latents stand one behind the other; fields are set before anything multiplies them."""

    def __init__(self, parts: Sequence[Parameterisation]) -> None:
        self._parts = tuple(parts)
        self._latents = _slices([part.n_latent for part in parts])
        with torch.no_grad():
            sizes = [part.variables(torch.zeros(part.n_latent, dtype=torch.float64)).numel() for part in parts]
        self._variables = _slices(sizes)

    @property
    def n_latent(self) -> int:
        """Of all parts."""
        return sum(part.n_latent for part in self._parts)

    @property
    def groups(self) -> Sequence[Group]:
        """Of all parts."""
        return tuple(group for part in self._parts for group in part.groups)

    def check(self, model: Model) -> None:
        """InputError where one does not fit."""
        for part in self._parts:
            part.check(model)

    def variables(self, z: Float[Tensor, "*b n"]) -> Float[Tensor, "*b v"]:
        """One behind the other."""
        return torch.cat(
            [part.variables(z[..., at]) for part, at in zip(self._parts, self._latents, strict=True)], dim=-1
        )

    def jacobian(self, z: Float[np.ndarray, " n"]) -> Float[Tensor, "n v"]:
        """Block-diagonal."""
        blocks = [part.jacobian(z[at]) for part, at in zip(self._parts, self._latents, strict=True)]
        return torch.block_diag(*blocks)

    def model(self, variables: Float[Tensor, " v"], model: Model) -> Model:
        """With what each part says."""
        each = list(zip(self._parts, self._variables, strict=True))
        for part, at in sorted(each, key=lambda one: isinstance(one[0], Numbers)):
            model = part.model(variables[at], model)
        return model

    def facies(self, variables: Float[Tensor, "*b v"]) -> Float[Tensor, "*b *shape"] | None:
        """Of all parts that know any, which lie in cells of their own."""
        each = [part.facies(variables[..., at]) for part, at in zip(self._parts, self._variables, strict=True)]
        known = [of for of in each if of is not None]
        return torch.stack(known).sum(dim=0) if known else None

    def values(self, variables: Float[Tensor, " v"]) -> Mapping[str, float]:
        """Of all parts."""
        return {
            name: value
            for part, at in zip(self._parts, self._variables, strict=True)
            for name, value in part.values(variables[at]).items()
        }


def _slices(sizes: Sequence[int]) -> list[slice]:
    return [slice(a, b) for a, b in pairwise(accumulate(sizes, initial=0))]
