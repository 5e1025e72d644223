"""Interpolation between the best members, for the dataset of a match."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from rockbank.matching.methods.interface import ParallelMap
from rockbank.matching.results.forecast import predict, slerp
from rockbank.matching.results.variable import Variable, stacked

N_SEGMENTS, N_POINTS = 3, 9


def interpolation(parallel_map: ParallelMap, best: Sequence[tuple[int, Any]]) -> dict[str, Variable]:
    """Segments from the best member to the second, on to the third, and back."""
    ends = list(zip(best, (*best[1:], best[0]), strict=True))
    t = np.linspace(0, 1, N_POINTS)
    between = iter(parallel_map(predict, [slerp(a.z, b.z, at) for (_, a), (_, b) in ends for at in t[1:-1]]))
    predicted = [[a, *(next(between) for _ in t[1:-1]), b] for (_, a), (_, b) in ends]
    where, of_segment = "on the great circle between two members", ("segment", "point")
    of = {
        "total": ("parts.total", (), f"objective {where}"),
        "time_mean": ("parts.time_mean", (), f"J {where}"),
        "facies": ("facies", ("y", "x"), f"probability of sand {where}"),
    }
    shape = ends[0][0][1].facies.shape
    found: dict[str, Variable] = {
        f"interpolation_{name}": (
            (*of_segment, *dims),
            stacked(predicted, attrgetter(attribute), shape if dims else ()),
            {"units": "1", "long_name": meaning},
        )
        for name, (attribute, dims, meaning) in of.items()
    }
    members = [[i, j] for (i, _), (j, _) in ends]
    return found | {"segment_members": (("segment", "end"), members, {"long_name": "number of the member at each end"})}
