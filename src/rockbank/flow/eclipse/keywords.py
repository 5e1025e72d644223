"""The keywords that are read: how many records each has, and which of them say nothing that a run needs."""

from __future__ import annotations

from collections.abc import Mapping

from rockbank.flow.eclipse.arrays import OPERATIONS, VECTORS
from rockbank.flow.eclipse.ranges import ARRAYS
from rockbank.flow.eclipse.text import SECTIONS

TABLES = ("SWOF", "PVTW", "PVDO", "PVCDO", "DENSITY", "ROCK", "EQUIL")
SCHEDULE: Mapping[str, int | None] = {
    "WELSPECS": None,
    "COMPDAT": None,
    "WCONINJE": None,
    "WCONPROD": None,
    "TSTEP": 1,
    "DATES": None,
}
# What changes no result of oil and water, or only asks for output.
PASSED_OVER: Mapping[str, int | None] = {
    **dict.fromkeys(("UNIFIN", "UNIFOUT", "FMTIN", "FMTOUT", "NOINSPEC", "NORSSPEC", "RPTRUNSP", "MONITOR"), 0),
    **dict.fromkeys(("ECHO", "NOECHO", "INIT", "NOWARN", "WARN", "CART", "IMPLICIT", "OLDTRAN", "FILLEPS"), 0),
    **dict.fromkeys(("NOGGF", "NEWTRAN", "ALL", "RUNSUM", "SEPARATE", "EXCEL", "RPTONLY", "RPTONLYO"), 0),
    **dict.fromkeys(("PERFORMA", "MSUMLINS", "MSUMNEWT", "TCPU", "TIMESTEP", "NEWTON", "NLINEARS", "MLINEARS"), 0),
    **dict.fromkeys(("ELAPSED", "DAY", "YEAR"), 0),
    **dict.fromkeys(("WELLDIMS", "REGDIMS", "VFPPDIMS", "VFPIDIMS", "AQUDIMS", "FAULTDIM", "WSEGDIMS", "SMRYDIMS"), 1),
    **dict.fromkeys(("ACTDIMS", "UDQDIMS", "UDADIMS", "NSTACK", "MESSAGES", "GRIDFILE", "GRIDUNIT", "MAPAXES"), 1),
    **dict.fromkeys(("MAPUNITS", "COORDSYS", "NEXTSTEP", "DRSDT", "SUMTHIN", "COLUMNS", "MEMORY"), 1),
}
N_RECORDS: Mapping[str, int | None] = {
    **PASSED_OVER,
    **dict.fromkeys((*SECTIONS, "OIL", "WATER", "METRIC", "FIELD", "ENDBOX"), 0),
    **dict.fromkeys((*ARRAYS, *VECTORS, *TABLES, "DIMENS", "START", "BOX"), 1),
    **dict.fromkeys(("TABDIMS", "EQLDIMS", "NUMRES", "SPECGRID"), 1),
    **dict.fromkeys(OPERATIONS, None),
    "TUNING": 3,
    **SCHEDULE,
}
