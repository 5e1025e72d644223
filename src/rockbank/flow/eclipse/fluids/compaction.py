"""How a deck's rock gives way to pressure: ROCK of each region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from rockbank.flow.eclipse.fluids.liquids import Tables, table_of
from rockbank.flow.equations.rock import REFERENCE_PRESSURE


@dataclass(frozen=True, kw_only=True, eq=False)
class Compaction:
    """What the pores of the active cells do: one number for all, or one for each.

    Attributes:
        compressibility: 1/Pa.
        reference_pressure: Pa, at which the pores are what they are.
    """

    compressibility: float | Float[np.ndarray, " n"] = 0.0
    reference_pressure: float | Float[np.ndarray, " n"] = REFERENCE_PRESSURE


def read_compaction(tables: Tables, regions: Int[np.ndarray, " n"]) -> Compaction:
    """ROCK of the active cells.

    Args:
        tables: by keyword.
        regions: of ROCK, from 0.

    Raises:
        DeckError: a record is missing, or says what is not a number.
    """
    if "ROCK" not in tables:
        return Compaction()
    used, of_cells = np.unique(regions, return_inverse=True)
    records = [table_of(tables, "ROCK", int(region)) for region in used]
    reference = np.array([record.number(1, "pressure") for record in records])
    compressibility = np.array([record.number(2, "compressibility", 0.0) for record in records])
    if (reference == reference[0]).all() and (compressibility == compressibility[0]).all():
        return Compaction(compressibility=float(compressibility[0]), reference_pressure=float(reference[0]))
    return Compaction(compressibility=compressibility[of_cells], reference_pressure=reference[of_cells])
