"""Several parameterisations together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, combinations, pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.matching.problem.parameterisation import Group, Model, Parameterisation
from rockbank.matching.problem.parameters.curves import CurveNumbers
from rockbank.matching.problem.parameters.fields import LinearField
from rockbank.matching.problem.parameters.section import SectionOfGrid


class Joint:
    """Parts whose latents stand one behind the other, whatever their order in the file.

    Fields are set first, images over them, and what multiplies them last; the curves of a law before their numbers.
    """

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
        """InputError where one does not fit, or two set the same, of which one would be lost."""
        for part in self._parts:
            part.check(model)
        _require_apart_fields([part for part in self._parts if isinstance(part, LinearField)])
        _require_apart_images([part for part in self._parts if isinstance(part, SectionOfGrid)], self._parts)
        _require_apart_curves([part for part in self._parts if isinstance(part, CurveNumbers)])

    def variables(self, z: Float[Tensor, "*b n"]) -> Float[Tensor, "*b v"]:
        """One behind the other."""
        return torch.cat(
            [part.variables(z[..., at]) for part, at in zip(self._parts, self._latents, strict=True)], dim=-1
        )

    def jacobian(self, z: Float[np.ndarray, " n"]) -> Float[Tensor, "n v"]:
        """Block-diagonal."""
        blocks = [part.jacobian(z[at]) for part, at in zip(self._parts, self._latents, strict=True)]
        found = blocks[0].new_zeros(self.n_latent, self._variables[-1].stop)
        for block, rows, columns in zip(blocks, self._latents, self._variables, strict=True):
            found[rows, columns] = block
        return found

    def model(self, variables: Float[Tensor, " v"], model: Model) -> Model:
        """With what each part says."""
        each = list(zip(self._parts, self._variables, strict=True))
        for part, at in sorted(each, key=lambda one: _rank(one[0])):
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


def _rank(part: Parameterisation) -> int:
    """In which turn it is set."""
    if isinstance(part, LinearField):
        return 0
    if isinstance(part, SectionOfGrid):
        return 1
    return 2 if isinstance(part, CurveNumbers) and part.law is not None else 3


def _require_apart_fields(fields: Sequence[LinearField]) -> None:
    for one, other in combinations(fields, 2):
        if one.of == other.of:
            raise InputError(f"{other.name}: sets the {other.of} of every cell, as {one.name} does; leave one of the "
                             "two out")  # fmt: skip


def _require_apart_images(sections: Sequence[SectionOfGrid], parts: Sequence[Parameterisation]) -> None:
    for one, other in combinations(sections, 2):
        if (shared := np.argwhere(one.covered & other.covered)).size:
            raise InputError(f"{other.name}: has images in cells of {one.name}, such as {tuple(shared[0].tolist())}; "
                             "say other layers or sections")  # fmt: skip
    if not sections:
        return
    covered = np.any([section.covered for section in sections], axis=0).ravel()
    for field in parts:
        if isinstance(field, LinearField) and covered[field.cells].all():
            raise InputError(f"{field.name}: all its cells have images, of "
                             f"{', '.join(section.name for section in sections)}; leave it out")  # fmt: skip


def _require_apart_curves(curves: Sequence[CurveNumbers]) -> None:
    for one, other in combinations(curves, 2):
        named = {part: name for name, part in one.parts.items()}
        for name, part in other.parts.items():
            if part in named:
                raise InputError(f"{name}: is the same number as {named[part]}; leave one of the two out")
        if one.law is not None and other.law is not None:
            first, second = (next(iter(each.parts)) for each in (one, other))
            raise InputError(f"{second}: has a 'law', as {first} has; put the numbers of both into one parameter")


def _slices(sizes: Sequence[int]) -> list[slice]:
    return [slice(a, b) for a, b in pairwise(accumulate(sizes, initial=0))]
