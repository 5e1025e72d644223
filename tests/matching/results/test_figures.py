"""What the pictures show is what the dataset has, in the units of their labels."""

import numpy as np
import pytest
from matplotlib.axes import Axes

from rockbank.matching.results.calibration import bands
from rockbank.matching.results.diagnostics import loss_history
from rockbank.matching.results.plots.curves import draw_fans, draw_iterations, draw_losses
from rockbank.matching.results.plots.maps import draw_facies_maps, draw_sections
from rockbank.matching.results.plots.spread import draw_calibration, draw_loss_histograms, draw_norms
from tests.matching.synthetic import DAY, matched


def line(axis: Axes, label: str) -> np.ndarray:
    """(n, 2) points of the line with this label."""
    (found,) = (each for each in axis.lines if each.get_label() == label)
    return np.asarray(found.get_xydata())


def test_curves_are_in_days_bar_and_cubic_metres_a_day() -> None:
    dataset = matched(n_members=9)
    figure = draw_fans(dataset)
    assert figure is not None
    pressure, water, oil = figure.axes
    assert pressure.get_title() == "INJ: bottom-hole pressure, bar"
    assert oil.get_title() == "PROD: oil produced, m³/day"
    assert line(pressure, "truth") == pytest.approx(
        np.stack([dataset.time / DAY, dataset.truth_bhp[:, 0] / 1e5], axis=1), rel=1e-12
    )
    assert line(oil, "truth")[:, 1] == pytest.approx(-dataset.truth_oil_rate[:, 1].values * DAY, rel=1e-12)
    middle = bands(-dataset.water_rate.sel(ensemble="posterior").values[:, :, 1] * DAY)[1]
    assert line(water, "posterior P50")[:, 1] == pytest.approx(middle, rel=1e-12, abs=1e-9)
    assert line(pressure, "forecast begins")[:, 0] == pytest.approx(300, rel=1e-12)


def test_run_without_forecast_has_no_line_where_one_begins() -> None:
    figure = draw_fans(matched(n_members=2, history=1000 * DAY))
    assert figure is not None
    assert "forecast begins" not in {each.get_label() for each in figure.axes[0].lines}


def test_prior_far_off_does_not_hide_the_posterior() -> None:
    dataset = matched(n_members=9)
    dataset["bhp"][0, :, :, 0] *= 100
    figure = draw_fans(dataset)
    assert figure is not None
    low, high = figure.axes[0].get_ylim()
    held = dataset.bhp.sel(ensemble="posterior").values[:, :, 0] / 1e5
    assert np.ptp(held) > 0.2 * (high - low)
    assert any("the prior goes on to" in each.get_text() for each in figure.axes[0].texts)


def test_median_way_down_of_equal_members_is_theirs() -> None:
    dataset = matched(n_members=3)
    for name in ("flow", "wells", "prior", "time_mean", "cost"):
        dataset[f"history_{name}"][:] = dataset[f"history_{name}"][0]
    figure = draw_losses(dataset)
    assert figure is not None
    known = np.isfinite(dataset.history_cost.values[0])
    own = np.stack([dataset.history_cost.values[0], loss_history(dataset)[0]], axis=1)[known]
    assert line(figure.axes[0], "median of members") == pytest.approx(own, rel=1e-12)


def test_iterations_name_how_many_members_reach_the_threshold() -> None:
    dataset = matched(n_members=4)
    dataset["history_time_mean"][:] = np.where(np.isfinite(dataset.history_time_mean), 3.0, np.nan)
    dataset["history_time_mean"][1, 6:] = 2.0
    figure = draw_iterations(dataset)
    assert figure is not None
    assert figure.axes[1].get_title() == "1 of 4 members reach J ≤ 2"
    assert line(figure.axes[1], "median 6")[:, 0].tolist() == [6, 6]


def test_maps_show_mean_and_deviation_of_members() -> None:
    dataset = matched(n_members=4)
    figure = draw_facies_maps(dataset)
    assert figure is not None
    facies = dataset.facies.values
    shown = [np.asarray(axis.images[0].get_array()) for axis in figure.axes[:4]]
    expected = [facies[0].mean(0), facies[0].std(0), facies[1].mean(0), facies[1].std(0)]
    for each, of_each in zip(shown, expected, strict=True):
        assert each == pytest.approx(of_each, abs=1e-12)
    # Row 0 is at the top, as deep as y is there.
    assert figure.axes[0].get_ylim() == pytest.approx((256, 0), abs=1e-9)


def test_sections_go_from_the_least_loss_to_the_greatest() -> None:
    dataset = matched(n_members=9)
    dataset["loss_flow"][1] = [5e3, 1e3, 9e3, 2e3, 3e3, 4e3, 6e3, 7e3, 8e3]
    figure = draw_sections(dataset)
    assert figure is not None
    titles = [axis.get_title() for axis in figure.axes if axis.get_title().startswith("posterior")]
    assert titles[0].startswith("posterior, member 1,")
    assert titles[-1].startswith("posterior, member 2,")


def test_histograms_count_every_member() -> None:
    dataset = matched(n_members=8)
    for figure in (draw_loss_histograms(dataset), draw_norms(dataset)):
        assert figure is not None
        axis = figure.axes[0]
        assert sum(patch.get_height() for patch in axis.patches if hasattr(patch, "get_height")) == pytest.approx(200)


def test_part_that_does_not_count_is_left_out() -> None:
    figure = draw_loss_histograms(matched(n_members=3, has_facies=False))
    assert figure is not None
    labels = [axis.get_xlabel() for axis in figure.axes if axis.get_visible()]
    assert labels == ["total loss", "J", "flow's part", "prior's part, ½|z|²"]


def test_few_members_are_expected_to_hold_the_truth_less_often() -> None:
    for n_members, expected in ((3, 50), (9, 80)):
        figure = draw_calibration(matched(n_members=n_members))
        assert figure is not None
        assert line(figure.axes[0], "expected")[0, 0] == pytest.approx(expected, rel=1e-12)
