"""The curves' end points, slopes and shapes, and those of the fluids."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey, SaturationTable
from rockbank.flow.equations.fluid import Fluid, Phase

# FLOW.md's published curves
PUBLISHED = BrooksCorey(water_curve=Corey(residual=0.15, span=0.75), oil_curve=Corey(residual=0.12, span=0.78))
CAPILLARY = BrooksCorey(
    water_curve=Corey(residual=0.1, span=0.8, exponent=3.0, end=0.6),
    oil_curve=Corey(residual=0.1, span=0.8, exponent=1.0),
    entry_pressure=2e4,
    pore_index=1.5,
)
TABLE = SaturationTable(
    saturation=(0.1, 0.3, 0.6, 0.9),
    k_water=(0.0, 0.05, 0.3, 0.6),
    k_oil=(0.9, 0.5, 0.1, 0.0),
    p_capillary=(5e4, 2e4, 5e3, 0.0),
)
CURVES = pytest.mark.parametrize("curves", [PUBLISHED, CAPILLARY, TABLE], ids=["published", "capillary", "table"])


def at(*s):
    return torch.tensor(s, dtype=torch.float64)


@CURVES
@pytest.mark.parametrize("name", ["water", "oil", "capillary"])
def test_each_slope_is_that_of_its_curve(curves, name):
    # Between the kinks (end points, floor, the table's points) central differences are good to O(h^2).
    s, h = at(0.17, 0.22, 0.29, 0.45, 0.58, 0.67, 0.79, 0.86, 0.95), 1e-6
    value, slope = getattr(curves, name)(s)
    numeric = (getattr(curves, name)(s + h)[0] - getattr(curves, name)(s - h)[0]) / (2 * h)
    torch.testing.assert_close(slope, numeric, rtol=1e-6, atol=1e-9 * (1 + float(value.abs().max())))


@CURVES
@settings(deadline=None, max_examples=30)
@given(s=st.lists(st.floats(0, 1), min_size=2, max_size=10))
def test_water_rises_and_oil_and_capillary_pressure_fall_with_saturation(curves, s):
    s = at(*sorted(s))
    for (value, slope), sign in ((curves.water(s), 1), (curves.oil(s), -1), (curves.capillary(s), -1)):
        assert (sign * value.diff() >= 0).all()
        assert (sign * slope >= 0).all()


def test_the_published_curves_are_what_they_were():
    k_w, _ = PUBLISHED.water(at(0.0, 0.15, 0.525, 0.90, 1.0))
    k_o, _ = PUBLISHED.oil(at(0.0, 0.10, 0.49, 0.88, 1.0))
    torch.testing.assert_close(k_w, at(0, 0, 0.25, 1, 1), rtol=0, atol=1e-15)
    torch.testing.assert_close(k_o, at(1, 1, 0.25, 0, 0), rtol=0, atol=1e-15)


def test_beyond_their_ends_the_curves_are_flat():
    for curves in (PUBLISHED, CAPILLARY, TABLE):
        for phase in (curves.water, curves.oil, curves.capillary):
            _, slope = phase(at(0.0, 0.05, 0.95, 1.0))
            assert not slope.any()


def test_capillary_pressure_is_brooks_and_coreys_and_meets_the_entry_pressure_at_full_saturation():
    p, _ = CAPILLARY.capillary(at(0.9, 0.5, 0.1))
    assert p[0] == pytest.approx(2e4, rel=1e-15)
    assert p[1] == pytest.approx(2e4 * 0.5 ** (-1 / 1.5), rel=1e-14)
    assert p[2] == pytest.approx(2e4 * 0.01 ** (-1 / 1.5), rel=1e-14)  # the floor, where the law is infinite


def test_curves_without_entry_pressure_have_no_capillary_pressure():
    assert not PUBLISHED.has_capillary_pressure
    assert not PUBLISHED.capillary(at(0.2, 0.5, 1.0))[0].any()
    assert CAPILLARY.has_capillary_pressure
    assert TABLE.has_capillary_pressure


def test_a_table_passes_through_its_points_and_runs_straight_between():
    torch.testing.assert_close(TABLE.oil(at(*TABLE.saturation))[0], at(*TABLE.k_oil), rtol=0, atol=1e-15)
    assert TABLE.water(at(0.45))[0].item() == pytest.approx((0.05 + 0.3) / 2, rel=1e-14)
    assert TABLE.water(at(0.45))[1].item() == pytest.approx((0.3 - 0.05) / 0.3, rel=1e-14)


def test_a_fine_table_of_the_power_law_is_the_power_law():
    s = torch.linspace(0, 1, 2001, dtype=torch.float64)
    table = SaturationTable(
        saturation=tuple(s.tolist()),
        k_water=tuple(PUBLISHED.water(s)[0].tolist()),
        k_oil=tuple(PUBLISHED.oil(s)[0].tolist()),
        p_capillary=(0.0,) * 2001,
    )
    between = at(0.1234, 0.2222, 0.6543, 0.8765)
    # h^2 / 8 times the curvature 2 / 0.75^2
    torch.testing.assert_close(table.water(between)[0], PUBLISHED.water(between)[0], rtol=0, atol=2e-7)
    torch.testing.assert_close(table.oil(between)[0], PUBLISHED.oil(between)[0], rtol=0, atol=2e-7)


def test_the_connate_water_is_where_water_begins_to_flow():
    assert PUBLISHED.connate == 0.15
    assert TABLE.connate == 0.1


@CURVES
def test_batches_of_any_shape_go_through(curves):
    s = torch.linspace(0, 1, 24, dtype=torch.float64).reshape(2, 3, 4).transpose(0, 2)
    for phase in (curves.water, curves.oil, curves.capillary):
        value, slope = phase(s)
        assert value.shape == slope.shape == s.shape


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 999))
def test_residual_and_span_may_add_up_to_one_whatever_their_round_off(thousandths):
    Corey(residual=thousandths / 1000, span=(1000 - thousandths) / 1000)


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"residual": -0.1, "span": 0.5}, "got residual -0.1 and span 0.5"),
        ({"residual": 0.3, "span": 0.8}, "got residual 0.3 and span 0.8; need 0 <= residual"),
        ({"residual": 0.3, "span": 0.0}, "span 0.0"),
        ({"residual": math.nan, "span": 0.5}, "got residual nan"),
        ({"residual": 0.1, "span": math.nan}, "span nan"),
        ({"residual": 0.1, "span": 0.5, "exponent": 0.5}, "got exponent 0.5 and end point 1.0; need"),
        ({"residual": 0.1, "span": 0.5, "exponent": math.inf}, "got exponent inf"),
        ({"residual": 0.1, "span": 0.5, "end": 0.0}, "end point 0.0"),
        ({"residual": 0.1, "span": 0.5, "end": math.nan}, "end point nan"),
    ],
)
def test_a_curve_that_cannot_be_is_refused(keywords, says):
    with pytest.raises(ValueError, match=says):
        Corey(**keywords)


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"entry_pressure": -1.0}, "got entry pressure -1.0 Pa"),
        ({"entry_pressure": math.nan}, "got entry pressure nan Pa"),
        ({"entry_pressure": math.inf}, "got entry pressure inf Pa"),
        ({"pore_index": 0.0}, "pore index 0.0"),
        ({"floor": 1.0}, r"floor 1.0; need >= 0, > 0 and in \(0, 1\)"),
    ],
)
def test_a_capillary_pressure_that_cannot_be_is_refused(keywords, says):
    with pytest.raises(ValueError, match=says):
        BrooksCorey(water_curve=PUBLISHED.water_curve, oil_curve=PUBLISHED.oil_curve, **keywords)


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"saturation": (0.2,)}, r"got saturations \(0.2,\); give two or more that increase"),
        ({"saturation": (0.2, 0.2)}, "give two or more that increase"),
        ({"saturation": (0.2, 1.2)}, r"within \[0, 1\]"),
        ({"saturation": (0.2, math.nan)}, "got saturations"),
        (
            {"k_water": (0.1, 0.0)},
            r"got k_water \(0.1, 0.0\); give 2 finite numbers of at least 0.0 that never decrease",
        ),
        ({"k_water": (-0.1, 0.0)}, "got k_water"),
        ({"k_oil": (0.0, 0.1)}, "got k_oil .* never increase"),
        ({"k_oil": (1.0, -0.1)}, "got k_oil"),
        ({"k_oil": (1.0, 0.5, 0.1)}, "got k_oil .* give 2"),
        ({"k_oil": (math.inf, 0.0)}, "got k_oil"),
        ({"p_capillary": (math.nan, 0.0)}, "got p_capillary"),
        ({"p_capillary": (0.0, 1.0)}, "got p_capillary"),
    ],
)
def test_a_table_that_cannot_be_is_refused(keywords, says):
    good = {"saturation": (0.2, 0.8), "k_water": (0.0, 1.0), "k_oil": (1.0, 0.0), "p_capillary": (0.0, 0.0)}
    with pytest.raises(ValueError, match=says):
        SaturationTable(**(good | keywords))


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"viscosity": 0.0}, "got viscosity 0.0 Pa s; it must be positive"),
        ({"viscosity": math.nan}, "got viscosity nan Pa s"),
        ({"viscosity": math.inf}, "got viscosity inf Pa s"),
        ({"density": -1000.0}, r"got density -1000.0 kg/m\^3"),
        ({"density": math.nan}, "got density nan"),
        ({"compressibility": -1e-10}, "got compressibility -1e-10 1/Pa"),
        ({"compressibility": math.nan}, "got compressibility nan 1/Pa"),
        ({"compressibility": 1e-5}, "got compressibility 1e-05 1/Pa; give 0 or some 1e-10"),
        ({"reference_pressure": math.nan}, "got reference pressure nan Pa"),
    ],
)
def test_a_phase_that_cannot_be_is_refused(keywords, says):
    with pytest.raises(ValueError, match=says):
        Phase(**({"viscosity": 1e-3, "density": 1000.0} | keywords))


@pytest.mark.parametrize("gravity", [-9.8, math.nan, 980.0])
def test_a_gravity_that_cannot_be_is_refused(gravity):
    water = Phase(viscosity=1e-3, density=1000.0)
    with pytest.raises(ValueError, match=rf"got gravity {gravity} m/s\^2; give 0 to leave it out, or 9.80665"):
        Fluid(water=water, oil=water, curves=PUBLISHED, gravity=gravity)


def test_phases_flow_together_only_without_gravity_and_capillary_pressure():
    water = Phase(viscosity=1e-3, density=1000.0)
    assert Fluid(water=water, oil=water, curves=PUBLISHED).is_cocurrent
    assert not Fluid(water=water, oil=water, curves=PUBLISHED, gravity=9.8).is_cocurrent
    assert not Fluid(water=water, oil=water, curves=CAPILLARY).is_cocurrent
