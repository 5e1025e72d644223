"""The keywords that are known: how many records each has, which say nothing that a run needs, which cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rockbank.flow.eclipse.ranges import ARRAYS, OPERATIONS, VECTORS
from rockbank.flow.eclipse.text import SECTIONS

# Records of these are as many as TABDIMS and EQLDIMS have regions; the item there, from 1, and the array of regions.
SATURATION_TABLES = ("SWOF", "SWFN", "SOF2")
FLUID_TABLES = ("PVTW", "PVDO", "PVCDO", "DENSITY", "ROCK")
TABLES = (*SATURATION_TABLES, *FLUID_TABLES, "EQUIL")
SCHEDULE: Mapping[str, int | None] = {
    **dict.fromkeys(("WELSPECS", "COMPDAT", "WCONINJE", "WCONPROD", "WCONINJH", "WCONHIST", "WELOPEN", "WELTARG")),
    **dict.fromkeys(("WEFAC", "DATES")),
    "TSTEP": 1,
}
# What changes no result of oil and water, or only asks for output.
PASSED_OVER: Mapping[str, int | None] = {
    **dict.fromkeys(("UNIFIN", "UNIFOUT", "FMTIN", "FMTOUT", "NOINSPEC", "NORSSPEC", "RPTRUNSP", "MONITOR"), 0),
    **dict.fromkeys(("ECHO", "NOECHO", "INIT", "NOWARN", "WARN", "CART", "IMPLICIT", "OLDTRAN", "FILLEPS"), 0),
    **dict.fromkeys(("NOGGF", "NEWTRAN", "ALL", "RUNSUM", "SEPARATE", "EXCEL", "RPTONLY", "RPTONLYO"), 0),
    **dict.fromkeys(("PERFORMA", "MSUMLINS", "MSUMNEWT", "TCPU", "TIMESTEP", "NEWTON", "NLINEARS", "MLINEARS"), 0),
    **dict.fromkeys(("ELAPSED", "DAY", "YEAR", "BLACKOIL", "MULTOUT", "MULTIN", "MULTOUTS", "NOHYST"), 0),
    **dict.fromkeys(("NOSIM", "DATE", "NARROW", "LOTUS", "SAVE", "ENDSKIP", "FRACTION", "EDITNNCS", "NMATRIX"), 0),
    **dict.fromkeys(("WELLDIMS", "REGDIMS", "VFPPDIMS", "VFPIDIMS", "AQUDIMS", "FAULTDIM", "WSEGDIMS", "SMRYDIMS"), 1),
    **dict.fromkeys(("ACTDIMS", "UDQDIMS", "UDADIMS", "NSTACK", "MESSAGES", "GRIDFILE", "GRIDUNIT", "MAPAXES"), 1),
    **dict.fromkeys(("MAPUNITS", "COORDSYS", "NEXTSTEP", "DRSDT", "SUMTHIN", "COLUMNS", "MEMORY", "GRIDOPTS"), 1),
    **dict.fromkeys(("PIMTDIMS", "EXTRAPMS", "OUTSOL", "TRACERS", "DEBUG", "OUTRAD", "FORMFEED", "LICENSES"), 1),
    **dict.fromkeys(("NUPCOL", "PARALLEL", "PATHS", "DATUM", "NPROCX", "OPTIONS", "ZIPPY2", "EPSDEBUG"), 1),
    **dict.fromkeys(("VFPCHK", "CPR", "PRECSALT", "WPAVE", "PSTEADY", "FMTHMD", "NETBALAN", "NETWORK"), 1),
    **dict.fromkeys(
        ("UDTDIMS", "DISPDIMS", "SCDPDIMS", "PINTDIMS", "BPIDIMS", "PEDIMS", "HMDIMS", "RIVRDIMS", "LGR"), 1
    ),
    **dict.fromkeys(("VAPPARS", "DATUMR", "MULTREGD", "WARNFLT", "TSTEPMIN"), 1),
    **dict.fromkeys(("PATHS", "GRUPTREE", "WRFT", "WRFTPLT", "COMPORD", "WLIST", "WPAVEDEP", "GRUPSIG"), None),
}
# The same, whose records are passed over without a count: a table that nothing refers to, names of output.
PASSED_OVER_WHOLE = (
    *("VFPPROD", "VFPINJ", "UDQ", "DIMPES", "TUNINGDP", "TUNINGH", "PYINPUT"),
    # Of gas, which a deck without GAS has not; tracers, which the flow does not feel.
    *("RSVD", "RVVD", "PBVD", "PDVD", "TRACER", "WTRACER", "TRACITVD", "BCTRACER", "TRACERKP"),
)
# Beginnings of names that are passed over likewise: what tracers are like in cells and depths.
PASSED_OVER_BEGINNING = ("TBLKF", "TBLKS", "TVDPF", "TVDPS")
_REASONS = """
there is water and oil, no gas:
    GAS DISGAS VAPOIL VAPWAT DISGASW PVTO PVDG PVTG PVCO PVZG SGOF SGFN SOF3 SLGOF SGWFN GSF WSF STONE STONE1 STONE2
    PBUB DRSDTR DRVDT WELPI GASWAT CO2STORE H2STORE DIFFUSE MISCIBLE GLIFTOPT WLIFTOPT
    LIFTOPT
water and oil have nothing dissolved in them:
    POLYMER SURFACT SOLVENT BRINE FOAM WPOLYMER WSALT WSOLVENT WFOAM WSURFACT PLYVISC PLYADS PLYROCK SURFNUM
    SURFACTA SURFSTES SURFADDW PLMIXPAR
    PLYMAX PLYSHLOG PLYSHEAR TLMIXPAR SALTVD API OAPI ALKALINE SURFVISC SURFST SURFADS SURFROCK SURFCAPD PLYDHFLF
    BIOFILM MICP SALTSOL TVDP TBLK
the temperature is the same everywhere:
    THERMAL TEMP VISCREF OILVISCT WATVISCT SPECHEAT SPECROCK THCONR TEMPVD RTEMP RTEMPVD WTEMP WINJTEMP THCROCK
    THCOIL THCWATER OILDENT WATDENT HEATCR HEATCRT
rock has one porosity:
    DUALPORO DUALPERM SIGMA SIGMAV DPNUM DPGRID NMATOPTS DZMTRX DZMTRXV GRAVDR
grids are not refined locally:
    CARFIN RADFIN RADFIN4 REFINE ENDFIN AMALGAM WELSPECL COMPDATL NXFIN NYFIN NZFIN HXFIN HYFIN HZFIN LGRON
    LGROFF WELOPENL WPIMULTL COLLAPSE COARSEN NWFINE
cells are no sectors of a circle:
    RADIAL SPIDER DR DRV DTHETA DTHETAV INRAD COORDRAD
end points are those of all directions, as numbers of cells:
    SCALELIM ENPTVD ENKRVD SWLX SWCRX SWUX SWLY SWCRY SWUY SWLZ SWCRZ SWUZ PCSCALE EPSODD
    LSOWCR TZONE SWLPC ISWL ISWCR ISWU ISOWCR IKRW IKRO IPCW IKRWR IKRORW KRNUM KRNUMX KRNUMY KRNUMZ KRNUMMF KRWX KRWY
    KRWZ KROX KROY KROZ
capillary pressures are those of the curves, whatever water or permeability is given:
    PPCWMAX JFUNC JFUNCR
the curves know no way back:
    EHYSTR SATOPTS IMBNUM HYST WAGHYSTR
analytical aquifers are not computed:
    AQUCT AQUFETP AQUFET AQUANCON AQUTAB AQUFLUX AQUANNC AQUCHWAT AQUCHGAS AQANTRC AQUANTRC AQUALIST
connections of aquifers of cells are those of AQUCON:
    AQUNNC
groups do not control wells:
    GCONPROD GCONINJE GCONSUMP GCONSALE GCONPRI GCONTOL GECON GEFAC GPMAINT WGRUPCON GRUPRIG GSATPROD GSATINJE GTADD
    GTMULT GUIDERAT LINCOM GCONENG GSWINGF PRIORITY WELPRI GDRILPOT
there is no surface network:
    NODEPROP BRANPROP GRUPNET GNETINJE GNETDP WNETDP NCONSUMP
the bore has one pressure, without segments:
    WELSEGS COMPSEGS WSEGVALV WSEGSICD WSEGAICD WSEGITER WSEGTABL WSEGFLIM WSEGLABY
no limits close or test wells:
    WECON CECON CECONT WCUTBACK WTEST WECONINJ WECONX WDRILTIM QDRILL WLIFT WCONPRIO WELTRAJ WBHGLR WECONT
the schedule does not depend on results:
    ACTION ACTIONX ACTIONG ACTIONR ACTIONW ENDACTIO ACTSEG UDT
well indices do not change with time:
    WPIMULT WPITAB COMPLUMP COMPIMB WELPI WINJMULT WTMULT WDFAC WDFACCOR COMPRP COMPTRAJ CSKIN WPICALC COMPVE
    WSKPTAB COMPLMPL WINJDAM WINJCLN
runs begin at their start:
    RESTART SKIPREST GETSOL GETGLOB LOAD GETDATA SKIPSTAR
transmissibilities and pore volumes are those of the grid and its multipliers:
    TRANX TRANY TRANZ PORV TRANR TRANTHT DEPTH MULTREGT MULTREGP PERMXY PERMYZ PERMZX DIFFX DIFFY DIFFZ DIFFMX
    MINDZNET THRESHLD EDITNNCR NNCGEN VEFRAC TPAMEPS PERMR PERMTHT
rock is compressed by a constant:
    ROCKTAB ROCKCOMP ROCKTABH OVERBURD ROCK2D ROCK2DTR ROCKWNOD ROCKTSIG RKTRMDIR OVERBVD STRESBCT
flow needs no threshold:
    THPRES EQLOPTS RPTTHPR THPRESFT
there are no sources or open boundaries:
    SOURCE BC BCCON BCPROP RAINFALL FLUX FLUXREG DUMPFLUX USEFLUX
only tNavigator reads it:
    RUNCTRL TNAVCTRL ARITHMET WELLTRAC
geomechanics is not computed:
    GEOMECH YMODULE PRATIO
"""


def _refused() -> Iterator[tuple[str, str]]:
    """Each name with the reason under which it stands."""
    reason = ""
    for line in _REASONS.splitlines():
        if line.endswith(":"):
            reason = line.removesuffix(":")
        yield from ((name, reason) for name in line.split() if line.startswith(" "))


REFUSED: Mapping[str, str] = dict(_refused())
N_RECORDS: Mapping[str, int | None] = {
    **PASSED_OVER,
    **dict.fromkeys((*SECTIONS, "OIL", "WATER", "METRIC", "FIELD", "LAB", "ENDBOX", "NONNC"), 0),
    **dict.fromkeys((*ARRAYS, *VECTORS, *TABLES, "DIMENS", "START", "BOX"), 1),
    **dict.fromkeys(
        (
            "TABDIMS",
            "EQLDIMS",
            "ROCKOPTS",
            "NUMRES",
            "SPECGRID",
            "MINPV",
            "COORD",
            "ZCORN",
            "PINCH",
            "ENDSCALE",
            "SCALECRS",
        ),
        1,
    ),
    **dict.fromkeys((*OPERATIONS, "FAULTS", "MULTFLT", "NNC", "EDITNNC", "AQUNUM", "AQUCON"), None),
    "TUNING": 3,
    **SCHEDULE,
}
