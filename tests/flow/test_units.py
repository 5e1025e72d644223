"""Numbers carry their units, and come back from them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rockbank.flow.units import DECK_UNITS, FIELD, METRIC, UNITS, Quantity, exact_text


@pytest.mark.parametrize(
    ("dimension", "raw", "si"),
    [
        ("rate", "300 m3/day", 300 / 86400),
        ("rate", "300 m^3/day", 300 / 86400),
        ("rate", "1 stb/day", 0.158987294928 / 86400),
        ("pressure", "200 bar", 2e7),
        ("pressure", 2e7, 2e7),
        ("viscosity", "5 cP", 5e-3),
        ("length", "4 m", 4.0),
        ("length", "25 ft", 7.62),
        ("permeability", "1 D", 9.869232667160130e-13),
        ("time", "7 days", 604800.0),
        ("compressibility", "1e-9 1/bar", 1e-14),
        # YAML 1.1 takes a number without a point for text.
        ("permeability", "1e-12", 1e-12),
        ("fraction", "20 %", 0.2),
        ("conductance", "1 cP m3/day/bar", 1e-3 / 86400 / 1e5),
        ("density", "62.428 lb/ft3", 1000.0),
    ],
)
def test_a_number_with_its_unit_is_si(dimension, raw, si):
    # Round-off, but for the pound, which is given to five digits.
    assert Quantity(dimension)(raw) == pytest.approx(si, rel=1e-5 if "lb" in str(raw) else 1e-15)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("200 baar", "unknown unit 'baar' of a pressure; known are ['Pa', 'kPa', 'MPa', 'bar', 'atm', 'psi']"),
        ("high", "expected a pressure: a number in SI, or with its unit such as '1 psi', got 'high'"),
        (True, "expected a pressure"),
        (None, "expected a pressure"),
    ],
)
def test_what_is_no_number_of_the_dimension_is_refused(raw, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        Quantity("pressure")(raw)


def test_every_unit_of_a_deck_is_known():
    for system in DECK_UNITS.values():
        for dimension, unit in system.names.items():
            assert system.scale(dimension) == UNITS[dimension][unit] > 0
    assert METRIC.scale("fraction") == FIELD.scale("fraction") == 1.0


@given(
    value=st.floats(min_value=1e-20, max_value=1e10),
    scale=st.sampled_from([METRIC.scale(name) for name in METRIC.names] + [FIELD.scale(name) for name in FIELD.names]),
)
def test_what_was_read_in_a_unit_is_written_so_that_it_is_read_again_exactly(value, scale):
    read = value * scale
    assert float(exact_text(read, scale)) * scale == read


def test_short_numbers_stay_short():
    assert exact_text(300 / 86400, METRIC.scale("rate")) == "300"
    assert exact_text(2e7, METRIC.scale("pressure")) == "200"
