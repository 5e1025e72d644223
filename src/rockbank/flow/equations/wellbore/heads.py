"""The wellbores: how much higher the pressure is at each perforation than at the well's datum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rockbank.flow.equations.problem import Problem


@dataclass(frozen=True, kw_only=True, eq=False)
class Wellbores:
    """The perforations of each well in the order of their depths, from the well's head down.

    They stand in rows of one length, a well's in its row; what a row has no perforation for is empty.

    Attributes:
        slot: place of each perforation in the rows, one after the other.
        upper: the perforation above each, itself for the first of a well.
        is_first: which perforations those are.
        n_wells: how many rows there are.
        length: of a row.
        drop: from one perforation, or the datum, down to the next, m.
        standing: which part of what stands in a well without flow is water.
        fixed: density that a well's filling is given, kg/m^3; NaN is that of the mixture.
    """

    slot: Int[Tensor, " p"]
    upper: Int[Tensor, " p"]
    is_first: Bool[Tensor, " p"]
    n_wells: int
    length: int
    drop: Float[Tensor, "w l"]
    standing: Float[Tensor, "w 1"]
    fixed: Float[Tensor, "w 1"]

    @classmethod
    def of(cls, problem: Problem, device: torch.device) -> Wellbores:
        """Those of a problem's wells."""
        depth, well = problem.grid.depth[problem.perforation_cell], problem.perforation_well
        order = np.lexsort((depth, well))
        counts = np.bincount(well)
        length = int(counts.max())
        slot = np.empty(len(well), dtype=np.int64)
        slot[order] = well[order] * length + np.arange(len(well)) - (np.cumsum(counts) - counts)[well[order]]
        upper, is_first = np.arange(len(well)), slot % length == 0
        below = order[~is_first[order]]
        upper[below] = order[np.flatnonzero(~is_first[order]) - 1]
        first = np.array([np.flatnonzero(well == w)[0] for w in range(len(counts))])
        datum = [depth[at] if of.datum is None else of.datum for of, at in zip(problem.wells, first, strict=True)]
        depths = np.full(len(counts) * length, np.nan)
        depths[slot] = depth
        drop = np.diff(depths.reshape(-1, length), prepend=np.array(datum)[:, None], axis=1)
        fixed = [np.nan if of.head_density is None else of.head_density for of in problem.wells]

        def tensor(values: np.ndarray) -> Tensor:
            return torch.as_tensor(values, device=device)

        return cls(
            slot=tensor(slot),
            upper=tensor(upper),
            is_first=tensor(is_first),
            n_wells=len(counts),
            length=length,
            drop=tensor(np.nan_to_num(drop)),
            standing=tensor(problem.is_injector[:, None].astype(float)),
            fixed=tensor(np.array(fixed)[:, None]),
        )

    @property
    def is_mixed(self) -> bool:
        """Whether the density of any of them depends on what flows."""
        return bool(self.fixed.isnan().any())

    def above(self, values: Float[Tensor, "b p"], first: Float[Tensor, "b p"]) -> Float[Tensor, "b p"]:
        """Of each perforation the value of the one above it, or `first` where there is none."""
        return torch.where(self.is_first, first, values[:, self.upper])

    def in_rows(self, values: Float[Tensor, "*b p"]) -> Float[Tensor, "*b w l"]:
        """The perforations' values in the wells' rows, 0 where a row is empty."""
        rows = values.new_zeros(*values.shape[:-1], self.n_wells * self.length)
        return rows.index_add(-1, self.slot, values).reshape(*values.shape[:-1], self.n_wells, self.length)

    def at_perforations(self, rows: Float[Tensor, "*b w l"]) -> Float[Tensor, "*b p"]:
        """The perforations' own values again."""
        return rows.flatten(-2)[..., self.slot]


def heads(
    bores: Wellbores,
    *,
    gravity: float,
    density: Float[Tensor, "2 #b #p"],
    outflow: Float[Tensor, "2 b p"],
    volume: Float[Tensor, "2 b p"],
    is_closed: Bool[Tensor, "b w"],
) -> Float[Tensor, "b p"]:
    """Pressure at each perforation minus the well's bottom-hole pressure, Pa.

        head_k = head_(k-1) + g rho_k (z_k - z_(k-1)),   rho = sum_a rho_a x_a / sum_a (x_a / b_a)

    with k counted from the datum down, and x_a the part of phase a in what flows through the bore above perforation
    k, that is, into it there and below, as surface volumes. Where nothing flows, water stands in an injector and oil in
    a producer.

    Args:
        bores: where the perforations are.
        gravity: m/s^2.
        density: of water and oil at their reference pressures, kg/m^3.
        outflow: of both phases from each perforation into the bore, or the other way round; m^3/s.
        volume: b of both phases in the bore, between each perforation and the one above.
        is_closed: which wells are closed above their perforations: what enters a bore anywhere stands there.
    """
    through = bores.in_rows(outflow).flip(-1).cumsum(dim=-1).flip(-1)
    if bool(is_closed.any()):
        entering = bores.in_rows(outflow.clamp(min=0)).sum(dim=-1, keepdim=True)
        is_top = torch.arange(bores.length, device=outflow.device) == 0
        through = torch.where(is_closed[..., None] & is_top, entering, through)
    both = through.sum(dim=0)
    flows = both != 0
    standing = torch.stack([bores.standing, 1 - bores.standing])[:, None]
    part = torch.where(flows, (through / torch.where(flows, both, 1.0)).abs(), standing)
    b = bores.in_rows(volume)
    rho = density[..., None] if density.shape[-1] == 1 else bores.in_rows(density)
    mixture = (rho * part).sum(dim=0) / (part / torch.where(b > 0, b, 1.0)).sum(dim=0)
    filling = torch.where(bores.fixed.isnan(), mixture, bores.fixed)
    return bores.at_perforations(gravity * (filling * bores.drop).cumsum(dim=-1))
