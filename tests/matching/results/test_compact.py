"""The compact dataset of a run takes little room, and its report is that of the run's checkpoints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from rockbank.matching.methods.workers import advance
from rockbank.matching.results.compact import N_LEVELS, compact
from rockbank.matching.results.diagnostics import connected, norm_squared_history, unseen_cells
from rockbank.matching.results.posterior import POSTERIOR, posterior, read_posterior, write_posterior
from rockbank.matching.results.report import to_html
from rockbank.matching.results.summary import table
from rockbank.matching.run import Run
from tests.matching.quick import rough_pictures
from tests.matching.synthetic import matched
from tests.matching.tiny import make_run, write_case

_PICTURE = re.compile(r'"data:image/png;base64,[^"]+"')


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """With its members at their ends."""
    folder: Path = tmp_path_factory.mktemp("run")
    run = make_run(folder / "run", write_case(folder), iterations=3, members=4)
    for i in range(run.settings.members):
        advance(run, i, lambda _: None, lambda: False)
    return run


@pytest.fixture(scope="module")
def whole(run: Run) -> xr.Dataset:
    def each(function: Any, arguments: Sequence[Any]) -> list[Any]:
        return [function(run, argument) for argument in arguments]

    return posterior(run, each)


def test_the_table_is_that_of_the_checkpoints_to_the_bit(whole: xr.Dataset, tmp_path: Path) -> None:
    write_posterior(tmp_path, compact(whole))
    pd.testing.assert_frame_equal(table(read_posterior(tmp_path)), table(whole), check_exact=True)


def test_the_report_says_what_that_of_the_checkpoints_does(whole: xr.Dataset, tmp_path: Path) -> None:
    write_posterior(tmp_path, compact(whole))
    with rough_pictures():
        words = [_PICTURE.sub("", to_html(each)) for each in (whole, read_posterior(tmp_path))]
    assert words[0] == words[1]


def test_a_file_gives_back_what_was_written_and_is_the_same_again(whole: xr.Dataset, tmp_path: Path) -> None:
    dataset = compact(whole)
    write_posterior(tmp_path, dataset)
    xr.testing.assert_identical(read_posterior(tmp_path), dataset)
    xr.testing.assert_identical(compact(read_posterior(tmp_path)), dataset)


def test_it_takes_a_tenth_of_the_room(tmp_path: Path) -> None:
    of = matched(n_members=40)
    sizes = []
    for dataset in (of, compact(of)):
        write_posterior(tmp_path, dataset)
        sizes.append((tmp_path / POSTERIOR).stat().st_size)
    assert sizes[1] < 0.1 * sizes[0]


def test_the_latents_give_the_rock_again_that_is_left_out(run: Run, whole: xr.Dataset) -> None:
    dataset = compact(whole)
    assert not {"permeability", "porosity"} & set(dataset)
    section = run.rock(torch.as_tensor(dataset.z.values))
    # Of the same network, in batches of another size.
    np.testing.assert_allclose(section.permeability.mT, whole.permeability, rtol=1e-9)
    np.testing.assert_allclose(section.facies.mT, dataset.facies, atol=0.5 / N_LEVELS + 1e-9)


def test_latents_are_kept_at_which_a_jacobian_was_made(run: Run, whole: xr.Dataset) -> None:
    dataset = compact(whole)
    kept = np.isfinite(dataset.z_path).all("latent").values
    for i, state in enumerate(run.states()):
        assert state is not None
        n = [record.cost.n_jacobians for record in state.records]
        assert kept[i].nonzero()[0].tolist() == [k for k in range(len(n) - 1) if n[k + 1] > n[k]]
    np.testing.assert_array_equal(dataset.z_path.values[kept], whole.z_path.values[kept])
    np.testing.assert_array_equal(norm_squared_history(dataset), norm_squared_history(whole))


def test_without_jacobians_no_latents_on_the_way_are_kept() -> None:
    of = matched(n_members=4)
    of["z_path"] = of.z[-1].expand_dims(iterate=of.sizes["iterate"]).transpose("member", "iterate", "latent")
    assert "z_path" not in compact(of)


def test_cells_at_the_wells_where_no_gradient_pulls_are_counted_before_rounding(whole: xr.Dataset) -> None:
    whole = whole.copy(deep=True)
    j, i = whole.facies_cell_j.values[0], whole.facies_cell_i.values[0]
    is_sand = whole.facies_is_sand.values[0]
    # The last but one of these is as good as certain, and the objective is not flat there.
    for member, far in enumerate((0.0, 1e-15, 1e-10, 0.4)):
        whole.facies[1, member, j, i] = far if is_sand else 1 - far
    whole.facies[1, :, whole.facies_cell_j[1:], whole.facies_cell_i[1:]] = 0.5
    np.testing.assert_array_equal(unseen_cells(whole, "posterior"), [1, 1, 0, 0])
    np.testing.assert_array_equal(unseen_cells(compact(whole), "posterior"), [1, 1, 0, 0])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_sand_stays_sand(values: list[float]) -> None:
    # What is next to 0.5 as well.
    facies = np.array([*values, 0.5, np.nextafter(0.5, 0), np.nextafter(0.5, 1)])
    sections = xr.Dataset({"facies": (("ensemble", "member", "y", "x"), facies[None, None, None])})
    dataset = compact(sections.assign_coords(ensemble=["prior"])).isel(ensemble=0, member=0, y=0)
    np.testing.assert_allclose(dataset.facies, facies, atol=0.5 / N_LEVELS + 1e-12)
    np.testing.assert_array_equal(dataset.facies.values > 0.5, facies > 0.5)


def test_members_that_failed_stay_unknown(tmp_path: Path) -> None:
    of = matched(n_members=6, failed=(2,))
    write_posterior(tmp_path, compact(of))
    again = read_posterior(tmp_path)
    assert bool(again.facies.sel(ensemble="posterior", member=2).isnull().all())
    np.testing.assert_array_equal(connected(again, "posterior"), connected(of, "posterior"))
