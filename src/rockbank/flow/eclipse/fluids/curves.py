"""A deck's saturation functions: SWOF, or SWFN with SOF2, of each region of SATNUM, and end points of each cell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.fluids.liquids import Tables, table_of
from rockbank.flow.eclipse.grid.arrays import DeckArrays
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.eclipse.ranges import END_POINTS
from rockbank.flow.eclipse.record import Record
from rockbank.flow.equations.curves.cell_curves import NEED, CellCurves, EndPoints, ends_of
from rockbank.flow.equations.curves.relperm import SaturationTable


def read_curves(
    tables: Tables,
    regions: Int[np.ndarray, " n"],
    arrays: DeckArrays,
    cells: Int[np.ndarray, " n"],
    *,
    scaling: Mapping[str, Record],
) -> SaturationTable | CellCurves:
    """The saturation functions of the active cells; one table where they are the same in all.

    Args:
        tables: by keyword.
        regions: SATNUM of the active cells, from 0.
        arrays: of which SWL, SWCR ... PCW are the cells' own end points.
        cells: places of the active cells in the box.
        scaling: ENDSCALE and SCALECRS, as far as they are given.

    Raises:
        DeckError: a table is missing or says what is not supported, or end points do not fit together.
    """
    used, of_cells = np.unique(regions, return_inverse=True)
    each = [_table(tables, int(region)) for region in used]
    distinct = list(dict.fromkeys(each))
    region = np.array([distinct.index(table) for table in each], dtype=int)[of_cells]
    given = [name for name in (*END_POINTS, "SWATINIT") if name in arrays]
    if given and "ENDSCALE" not in scaling:
        raise DeckError(f"{arrays.place(given[0])}: {given[0]}: end points of cells need ENDSCALE in RUNSPEC; give it")
    if not given:
        return distinct[0] if len(distinct) == 1 else CellCurves(tables=tuple(distinct), region=region)
    own = {}
    for name, field in END_POINTS.items():
        own[field] = np.array([ends_of(table)[field] for table in distinct])[region]
        if name in arrays:
            values = arrays.raw(name).ravel()[cells]
            own[field] = np.where(np.isnan(values), own[field], values)
    crossing = scaling.get("SCALECRS")
    ends = EndPoints(**own)
    if not ends.fit.all():
        first = int(np.flatnonzero(~ends.fit)[0])
        i, j, k = np.unravel_index(cells[first], arrays.box)
        more = int((~ends.fit).sum()) - 1
        raise DeckError(f"{arrays.place(given[0])}: {given[0]}: got {ends.in_words(first)} in cell "
                        f"({i + 1}, {j + 1}, {k + 1}) and {more} more, "
                        f"those of the table where none is given; {NEED}")  # fmt: skip
    return CellCurves(
        tables=tuple(distinct),
        region=region,
        ends=ends,
        three_points=crossing is not None and crossing.text(1, "NO").upper().startswith("Y"),
        scales_residual=("KRWR" in arrays, "KRORW" in arrays),
    )


def _table(tables: Tables, region: int) -> SaturationTable:
    if "SWOF" in tables:
        if "SWFN" in tables or "SOF2" in tables:
            other = tables["SWFN" if "SWFN" in tables else "SOF2"][0]
            raise other.error(f"SWOF in {tables['SWOF'][0].place} says the same; keep one family of tables")
        record = table_of(tables, "SWOF", region)
        s, k_water, k_oil, p_c = _columns(record, 4)
    else:
        if "SWFN" not in tables and "SOF2" not in tables:
            raise InputError("the deck has no SWOF; give it, or SWFN and SOF2")
        record = table_of(tables, "SWFN", region)
        (s_w, of_water, pressure), (s_o, of_oil) = _columns(record, 3), _columns(table_of(tables, "SOF2", region), 2)
        s = np.unique(np.concatenate([s_w, 1 - s_o]).round(12))
        s = s[s >= s_w[0] - 1e-12]
        k_water, k_oil, p_c = np.interp(s, s_w, of_water), np.interp(1 - s, s_o, of_oil), np.interp(s, s_w, pressure)
    try:
        return SaturationTable(
            saturation=tuple(map(float, s)),
            k_water=tuple(map(float, k_water)),
            k_oil=tuple(map(float, k_oil)),
            p_capillary=tuple(map(float, p_c * record.units.scale("pressure"))),
        )
    except InputError as error:
        raise record.error(str(error)) from error


def _columns(record: Record, n: int) -> Float[np.ndarray, "n rows"]:
    """A table's columns; a default lies on the straight line between its neighbours, as in Eclipse."""
    if len(record.items) % n or not len(record.items):
        raise record.error(f"got {len(record.items)} items; give rows of {n}")
    rows = record.items.numbers().reshape(-1, n).T
    for i in np.flatnonzero(np.isnan(rows.T.ravel())):
        if record.has(int(i) + 1):
            record.number(int(i) + 1)
    if not np.isfinite(rows[0]).all():
        raise record.error("a saturation is left out; give each")
    for column in rows[1:]:
        given = ~np.isnan(column)
        if not (given[0] and given[-1]):
            raise record.error("the first or the last number of a column is left out; give both")
        column[~given] = np.interp(rows[0][~given], rows[0][given], column[given])
    return rows
