"""Relative permeabilities of every kind that the simulator takes, for its tests."""

from collections.abc import Mapping

from rockbank.flow import BrooksCorey, Corey, SaturationTable

COREY = BrooksCorey(water_curve=Corey(residual=0.1, span=0.7), oil_curve=Corey(residual=0.2, span=0.7))
POWERS = BrooksCorey(
    water_curve=Corey(residual=0.1, span=0.6, exponent=3.0, end=0.4),
    oil_curve=Corey(residual=0.25, span=0.65, exponent=1.5, end=0.9),
)
TABLE = SaturationTable(
    saturation=(0.1, 0.3, 0.5, 0.8), k_water=(0.0, 0.05, 0.2, 0.6), k_oil=(0.9, 0.5, 0.15, 0.0), p_capillary=(0.0,) * 4
)
MOBILE_WATER = SaturationTable(
    saturation=(0.2, 0.5, 0.9), k_water=(0.02, 0.2, 0.7), k_oil=(0.8, 0.3, 0.01), p_capillary=(0.0,) * 3
)
CURVES: Mapping[str, BrooksCorey | SaturationTable] = {
    "squares": COREY,
    "powers": POWERS,
    "table": TABLE,
    "table of mobile water": MOBILE_WATER,
}
# With a point within at which the other phase begins to flow, so that all end points differ.
SCALED = SaturationTable(
    saturation=(0.15, 0.25, 0.4, 0.7, 0.9),
    k_water=(0.0, 0.0, 0.2, 0.6, 0.8),
    k_oil=(1.0, 0.7, 0.4, 0.0, 0.0),
    p_capillary=(3e4, 2e4, 1e4, 4e3, 1e3),
)
