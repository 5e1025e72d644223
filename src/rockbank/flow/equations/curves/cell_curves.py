"""Saturation functions that differ from cell to cell: tables by region, and end points by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.equations.curves.relperm import SaturationTable

Ends = Float[np.ndarray, " n"]
Curve = tuple[Float[Tensor, "*b n"], Float[Tensor, "*b n"]]
# A relative permeability of a table up to this is none, as in OPM Flow.
_NONE = 1e-6
_ROUND = 1e-9
NEED = "need 0 <= SWL <= SWCR < SWU <= 1 and SWL < 1 - SOWCR"


@dataclass(frozen=True, kw_only=True, eq=False)
class EndPoints:
    """Saturations and values at the ends of the curves in some cells: Eclipse's SWL, SWCR ... PCW.

    Attributes:
        connate: least saturation of water (SWL).
        critical: up to which water does not flow (SWCR).
        most: greatest saturation of water (SWU).
        residual_oil: saturation of oil up to which it does not flow (SOWCR).
        k_water: at `most` (KRW).
        k_water_residual: where oil ceases to flow (KRWR).
        k_oil: at `connate` (KRO).
        k_oil_critical: where water begins to flow (KRORW).
        p_capillary: at `connate`, Pa (PCW).
    """

    connate: Ends
    critical: Ends
    most: Ends
    residual_oil: Ends
    k_water: Ends
    k_water_residual: Ends
    k_oil: Ends
    k_oil_critical: Ends
    p_capillary: Ends

    @property
    def fit(self) -> Bool[np.ndarray, " n"]:
        """In which cells they are in their order."""
        low, last = self.connate, 1 - self.residual_oil
        is_ordered = (low >= 0) & (low <= self.critical + _ROUND) & (self.critical < self.most)
        return np.asarray(is_ordered & (self.most <= 1 + _ROUND) & (low < last))

    def in_words(self, i: int) -> str:
        """The saturations of one cell, in words."""
        named = (("SWL", self.connate), ("SWCR", self.critical), ("SWU", self.most), ("SOWCR", self.residual_oil))
        return ", ".join(f"{name} {of[i]:g}" for name, of in named)

    def take(self, cells: Int[np.ndarray, " m"]) -> EndPoints:
        """Those of some cells."""
        return EndPoints(**{of.name: getattr(self, of.name)[cells] for of in fields(self)})


def ends_of(table: SaturationTable) -> dict[str, float]:
    """The end points of a table, by the names of `EndPoints`."""
    s, k_w, k_o = (np.array(of) for of in (table.saturation, table.k_water, table.k_oil))
    critical = float(s[max(np.flatnonzero(k_w <= _NONE), default=0)])
    last = float(s[min(np.flatnonzero(k_o <= _NONE), default=len(s) - 1)])
    return {
        "connate": float(s[0]),
        "critical": critical,
        "most": float(s[-1]),
        "residual_oil": 1 - last,
        "k_water": float(k_w[-1]),
        "k_water_residual": float(np.interp(last, s, k_w)),
        "k_oil": float(k_o[0]),
        "k_oil_critical": float(np.interp(critical, s, k_o)),
        "p_capillary": float(table.p_capillary[0]),
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class CellCurves:
    """Each cell has the table of its region, stretched to its own end points where it has such.

    A saturation goes to that of the table by straight lines between end points; a value is scaled by those at the ends
    (Eclipse's ENDSCALE; by three points with `three_points`, SCALECRS).

    Attributes:
        tables: of the regions.
        region: of each cell, a place in `tables`.
        ends: of each cell; None is that the tables stand as they are.
        three_points: whether the curves also keep the point at which the other phase begins to flow.
        scales_residual: which of (k_water_residual, k_oil_critical) are given, and not as the table has them.
    """

    tables: tuple[SaturationTable, ...]
    region: Int[np.ndarray, " n"]
    ends: EndPoints | None = None
    three_points: bool = False
    scales_residual: tuple[bool, bool] = (False, False)

    def __post_init__(self) -> None:
        if self.ends is None:
            return
        wrong = np.flatnonzero(~self.ends.fit)
        if len(wrong):
            raise InputError(f"end points: got {self.ends.in_words(int(wrong[0]))} in active cell {wrong[0]} and "
                             f"{len(wrong) - 1} more; {NEED}")  # fmt: skip

    def at(self, cells: Int[np.ndarray, " m"]) -> CellCurves:
        """Those of some cells, which may come several times."""
        return replace(self, region=self.region[cells], ends=None if self.ends is None else self.ends.take(cells))

    @property
    def has_capillary_pressure(self) -> bool:
        """Whether the phases' pressures differ."""
        return any(table.has_capillary_pressure for table in self.tables)

    @property
    def is_flat(self) -> Bool[np.ndarray, " n"]:
        """Of which cells the capillary pressure is the same at all saturations."""
        return np.asarray(np.array([np.ptp(table.p_capillary) == 0 for table in self.tables])[self.region])

    @property
    def connate(self) -> Float[np.ndarray, " n"]:
        """The least water saturation of each cell."""
        return self._of_tables("connate") if self.ends is None else self.ends.connate

    @property
    def most(self) -> Float[np.ndarray, " n"]:
        """The greatest water saturation of each cell."""
        return self._of_tables("most") if self.ends is None else self.ends.most

    def water(self, s: Float[Tensor, "*b n"]) -> Curve:
        """Relative permeability of water and its derivative."""
        if self.ends is None:
            return self._looked_up(s, "water")
        own, table = self.ends, self._table_ends
        to, slope = self._stretched(
            s, (own.critical, 1 - own.residual_oil, own.most),
            (table["critical"], 1 - table["residual_oil"], table["most"]),
        )  # fmt: skip
        k, k_s = self._looked_up(to, "water")
        ends = (own.k_water_residual, own.k_water), (table["k_water_residual"], table["k_water"])
        return _scaled(s, k, k_s * slope, 1 - own.residual_oil, own.most, *ends, by_residual=self.scales_residual[0])

    def oil(self, s: Float[Tensor, "*b n"]) -> Curve:
        """Relative permeability of oil and its derivative in the water saturation."""
        if self.ends is None:
            return self._looked_up(s, "oil")
        own, table = self.ends, self._table_ends
        to, slope = self._stretched(
            s, (own.connate, own.critical, 1 - own.residual_oil),
            (table["connate"], table["critical"], 1 - table["residual_oil"]),
        )  # fmt: skip
        k, k_s = self._looked_up(to, "oil")
        ends = (own.k_oil_critical, own.k_oil), (table["k_oil_critical"], table["k_oil"])
        return _scaled(s, k, k_s * slope, own.critical, own.connate, *ends, by_residual=self.scales_residual[1])

    def capillary(self, s: Float[Tensor, "*b n"]) -> Curve:
        """Oil pressure minus water pressure, Pa, and its derivative."""
        if self.ends is None:
            return self._looked_up(s, "capillary")
        own, table = self.ends, self._table_ends
        ends = ((own.connate, own.most, own.most), (table["connate"], table["most"], table["most"]))
        to, slope = self._stretched(s, *ends, three_points=False)
        p, p_s = self._looked_up(to, "capillary")
        has = table["p_capillary"] != 0
        factor = s.new_tensor(np.where(has, own.p_capillary / np.where(has, table["p_capillary"], 1.0), 1.0))
        return factor * p, factor * p_s * slope

    @cached_property
    def _table_ends(self) -> dict[str, Ends]:
        return {name: self._of_tables(name) for name in ends_of(self.tables[0])}

    def _of_tables(self, name: str) -> Ends:
        return np.asarray(np.array([ends_of(table)[name] for table in self.tables])[self.region])

    @cached_property
    def _places(self) -> Sequence[Int[np.ndarray, " m"]]:
        return [np.flatnonzero(self.region == i) for i in range(len(self.tables))]

    def _looked_up(self, s: Float[Tensor, "*b n"], name: str) -> Curve:
        """A curve of the regions' tables, and its slope."""
        used = [i for i, places in enumerate(self._places) if len(places)]
        if len(used) == 1:
            return getattr(self.tables[used[0]], name)(s)  # type: ignore[no-any-return]
        value, slope = torch.zeros_like(s), torch.zeros_like(s)
        for i in used:
            at = torch.as_tensor(self._places[i], device=s.device)
            of, of_s = getattr(self.tables[i], name)(s[..., at])
            value, slope = value.index_copy(-1, at, of), slope.index_copy(-1, at, of_s)
        return value, slope

    def _stretched(
        self,
        s: Float[Tensor, "*b n"],
        own: tuple[Ends, Ends, Ends],
        table: tuple[Ends, Ends, Ends],
        *,
        three_points: bool | None = None,
    ) -> Curve:
        """The saturation of the tables for each cell's own, and its derivative."""
        (x0, x1, x2), (y0, y1, y2) = ([s.new_tensor(of) for of in each] for each in (own, table))
        if not (self.three_points if three_points is None else three_points):
            slope = (y2 - y0) / (x2 - x0)
            return y0 + slope * (s - x0), slope.expand_as(s)
        lower, upper = (y1 - y0) / _span(x1 - x0), (y2 - y1) / _span(x2 - x1)
        is_lower = s < x1
        slope = torch.where(is_lower, lower, upper)
        return torch.where(is_lower, y0 + lower * (s - x0), y1 + upper * (s - x1)), slope


def _span(length: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Of two points; 1 where they are one, between which there is no saturation."""
    return torch.where(length > 0, length, torch.ones_like(length))


def _scaled(
    s: Float[Tensor, "*b n"],
    k: Float[Tensor, "*b n"],
    k_s: Float[Tensor, "*b n"],
    residual: Ends,
    end: Ends,
    own: tuple[Ends, Ends],
    table: tuple[Ends, Ends],
    *,
    by_residual: bool,
) -> Curve:
    """A relative permeability by its own values at the other phase's end point `residual` and at its own `end`."""
    (own_r, own_m), (k_r, k_m) = own, table
    if not by_residual:
        factor = s.new_tensor(own_m / k_m)
        return factor * k, factor * k_s
    sign = np.sign(end - residual)
    is_beyond = (s - s.new_tensor(residual)) * s.new_tensor(sign) > 0
    low = s.new_tensor(own_r / k_r)
    rises = k_m > k_r
    high = s.new_tensor(np.where(rises, (own_m - own_r) / np.where(rises, k_m - k_r, 1.0), 0.0))
    # Where the table is flat between both points, a straight line joins them.
    span = np.where(end != residual, end - residual, 1.0)
    straight = s.new_tensor(np.where(rises | (end == residual), 0.0, (own_m - own_r) / span))
    beyond = s.new_tensor(own_r) + high * (k - s.new_tensor(k_r)) + straight * (s - s.new_tensor(residual))
    return torch.where(is_beyond, beyond, low * k), torch.where(is_beyond, high * k_s + straight, low * k_s)
