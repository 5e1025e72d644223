"""Numbers of a match: each against its closed form, and none moved by what should not matter."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from rockbank.matching.results.diagnostics import (
    connected,
    facies_accuracy,
    forecast_coverage,
    forecast_ranks,
    iterates_to,
    norm_squared,
    observation_ranks,
    oil_produced,
    perforations,
    series,
    truth_is_connected,
)
from rockbank.matching.results.summary import summary, table
from tests.matching.synthetic import DAY, RATE, matched

# What a run may lack.
LACKS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "observations": {"has_observations": False},
    "facies": {"has_facies": False},
    "truth": {"has_truth": False},
    "forecast": {"history": 1000 * DAY},
    "history": {"history": 0.0, "has_observations": False},
    "posterior": {"ensembles": ("prior",), "n_iterations": 0},
    "members": {"n_members": 1},
    "successes": {"n_members": 3, "failed": (0, 1, 2)},
    "all": {"has_observations": False, "has_facies": False, "has_truth": False, "n_members": 1, "has_segments": False},
}


def test_series_are_those_that_no_control_holds() -> None:
    assert series(matched(n_members=4)) == [("bhp", 0), ("water_rate", 1), ("oil_rate", 1)]
    assert series(matched(n_members=1)) == [("bhp", 0), ("water_rate", 1), ("oil_rate", 1)]


def test_observed_series_is_shown_though_a_control_holds_it() -> None:
    dataset = matched(n_members=4)
    dataset["observation_well"][:] = "PROD"
    assert ("bhp", 1) in series(dataset)


def test_wells_are_named_or_counted() -> None:
    dataset = matched(n_members=3)
    named = dataset.assign(perforation_well=dataset.well[dataset.perforation_well].drop_vars("well").astype(object))
    assert named.perforation_well.values[0] == "INJ"
    for kind, column in (("injector", 7), ("producer", 119)):
        assert np.array_equal(perforations(named, kind), perforations(dataset, kind))
        assert (perforations(dataset, kind)[:, 1] == column).all()


def test_coverage_is_the_part_of_the_forecast_that_the_band_holds() -> None:
    dataset = matched(n_members=9)
    is_forecast = ~dataset.is_history.values
    n = int(is_forecast.sum())
    spread = 1.5e7 + 1e5 * np.arange(1, 10)
    dataset["bhp"][-1, :, :, 0] = spread[:, None]
    truth = np.full(len(is_forecast), 1.5e7 + 5e5)
    truth[np.flatnonzero(is_forecast)[:3]] = 1.5e7 + 9.5e5
    # Nor does it matter how far off the history is.
    truth[~is_forecast] = 9e7
    dataset["truth_bhp"][:, 0] = truth
    assert forecast_coverage(dataset, "posterior")["bhp", 0] == pytest.approx(1 - 3 / n, rel=1e-12)


def test_truth_above_all_members_has_the_highest_rank() -> None:
    dataset = matched(n_members=6)
    for name in ("bhp", "water_rate", "oil_rate"):
        dataset[f"truth_{name}"] = dataset[name].max(["ensemble", "member"]) + np.abs(dataset[name]).max()
    weights = forecast_ranks(dataset, "posterior")
    assert weights is not None
    assert weights.shape == (3 * int((~dataset.is_history).sum()), 7)
    assert weights[:, -1] == pytest.approx(1, abs=1e-12)
    assert set(forecast_coverage(dataset, "posterior").values()) == {0.0}


def test_observations_far_above_all_members_have_the_highest_rank() -> None:
    dataset = matched(n_members=6)
    dataset["observed"] = dataset.simulated.max(["ensemble", "member"]) + 20 * dataset.sigma
    weights = observation_ranks(dataset, "posterior")
    assert weights is not None
    assert weights[:, -1] == pytest.approx(1, abs=1e-12)


def test_iterates_count_to_the_first_at_or_below_the_threshold() -> None:
    history = np.array([[9, 5, 2, 3, 1], [9, 8, 7, np.nan, np.nan], [1, 9, 9, 9, 9], [np.nan] * 5])
    assert iterates_to(history, 2.0) == pytest.approx([2, np.nan, 0, np.nan], nan_ok=True)


def test_accuracy_is_the_part_of_right_cells_and_agrees_with_what_is_stored() -> None:
    dataset = matched(n_members=5)
    assert facies_accuracy(dataset, "prior") == pytest.approx(dataset.accuracy.sel(ensemble="prior").values, rel=1e-12)
    dataset["facies"][1, 0] = dataset.truth_facies
    dataset["facies"][1, 1] = 1 - dataset.truth_facies
    dataset["facies"][1, 2] = dataset.truth_facies
    for j in (3, 40, 41):
        dataset["facies"][1, 2, j, 7] = 1 - dataset.truth_facies[j, 7]
    n_cells = dataset.sizes["facies_cell"]
    assert facies_accuracy(dataset, "posterior")[:3] == pytest.approx([1, 0, 1 - 3 / n_cells], rel=1e-12)


def test_sand_everywhere_connects_and_none_does_not() -> None:
    dataset = matched(n_members=3)
    dataset["facies"][1, 0], dataset["facies"][1, 1] = 1.0, 0.0
    assert connected(dataset, "posterior")[:2].tolist() == [1, 0]
    dataset["truth_facies"][:] = 1.0
    assert truth_is_connected(dataset) is True


def test_connection_of_a_reservoir_with_one_kind_of_wells_is_not_known() -> None:
    dataset = matched(n_members=2)
    dataset["well_kind"][:] = "producer"
    assert np.isnan(connected(dataset, "prior")).all()
    assert truth_is_connected(dataset) is None


def test_oil_produced_is_the_rate_times_the_time_where_a_dataset_has_no_volumes() -> None:
    dataset = matched(n_members=2)
    dataset["oil_rate"] = xr.full_like(dataset.oil_rate, -RATE)
    assert oil_produced(dataset, "prior").values == pytest.approx(300 * dataset.time.values[-1] / DAY, rel=1e-12)


def test_norm_is_that_of_the_latent() -> None:
    dataset = matched(n_members=2, n_latent=4)
    dataset["z"][1, 0] = [1.0, -2.0, 0.0, 2.0]
    assert norm_squared(dataset, "posterior")[0] == pytest.approx(9, rel=1e-12)


def test_table_has_a_row_for_each_member_and_nothing_of_one_that_failed() -> None:
    dataset = matched(n_members=6, failed=[2])
    rows = table(dataset)
    assert rows.member.tolist() == list(range(6))
    assert rows.status[2] == "failed"
    numbers = [name for name in rows if str(name).startswith(("prior_", "posterior_"))]
    assert len(numbers) == 20
    assert rows.loc[2, numbers].isna().all()
    assert rows.drop(index=2)[numbers].notna().all(axis=None)
    parts = rows[["posterior_loss_flow", "posterior_loss_wells", "posterior_loss_prior"]].sum(axis=1, skipna=False)
    assert rows.posterior_loss.to_numpy() == pytest.approx(parts.to_numpy(), rel=1e-12, nan_ok=True)
    assert rows.cost.to_numpy() == pytest.approx(dataset.history_cost.max("iterate").values, rel=1e-12, nan_ok=True)


def test_members_that_failed_change_no_number_of_the_others() -> None:
    whole = matched(n_members=7, failed=[1, 4])
    others = whole.isel(member=[0, 2, 3, 5, 6])
    assert summary(whole)["ensembles"] == summary(others)["ensembles"]
    assert (summary(whole)["members"], summary(whole)["done"], summary(whole)["failed"]) == (7, 5, 2)
    assert list(summary(whole)["reasons"]) == ["1", "4"]


def test_order_of_members_and_of_dimensions_changes_nothing() -> None:
    dataset = matched(n_members=6)
    other = dataset.isel(member=[3, 1, 0, 5, 2, 4]).transpose(..., "ensemble")
    numbers, others = summary(dataset)["ensembles"]["posterior"], summary(other)["ensembles"]["posterior"]
    for key, value in numbers.items():
        assert others[key] == pytest.approx(value, rel=1e-12), key
    assert table(other).sort_values("member").reset_index(drop=True).equals(table(dataset))


@pytest.mark.parametrize("lack", LACKS)
def test_summary_is_json_whatever_a_run_lacks(lack: str) -> None:
    numbers = json.loads(json.dumps(summary(matched(**{"n_members": 4, **LACKS[lack]})), allow_nan=False))
    last = list(numbers["ensembles"].values())[-1]
    without = {
        "observations": ("time_mean", "coverage_observations"),
        "facies": ("accuracy",),
        "truth": ("coverage_forecast",),
        "forecast": ("coverage_forecast",),
        "members": ("coverage_forecast",),
        "successes": ("loss", "expected_coverage"),
    }
    for key in without.get(lack, ()):
        assert last[key] is None, key
    if lack == "nothing":
        assert None not in last.values()


@pytest.mark.parametrize("lack", ["nothing", "all"])
def test_file_of_the_dataset_says_the_same(tmp_path: Path, lack: str) -> None:
    dataset = matched(**{"n_members": 3, **LACKS[lack]})
    dataset.to_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    assert summary(xr.load_dataset(tmp_path / "posterior.nc", engine="h5netcdf")) == summary(dataset)


def test_members_that_still_run_have_not_ended() -> None:
    dataset = matched(n_members=3)
    dataset["status"][1] = "running"
    numbers = summary(dataset)
    assert (numbers["done"], numbers["running"], numbers["failed"]) == (2, 1, 0)
