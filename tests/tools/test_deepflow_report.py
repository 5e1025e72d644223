"""The report on DeepFlow's case says what the datasets of its runs say, and nothing of runs that are not there."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

from rockbank.core.files import write_json
from rockbank.matching.methods.state import Record, State
from rockbank.matching.problem.cost import Cost
from rockbank.matching.problem.point import Parts
from rockbank.matching.results.compact import compact
from rockbank.matching.results.posterior import POSTERIOR, read_posterior, write_posterior
from rockbank.matching.run import MEMBERS, SETTINGS
from rockbank.matching.settings import Settings
from tests.matching.synthetic import matched
from tests.tools.deepflow_modules import ASKED, N_LATENT, docs

__all__ = ["docs"]
# Tables have three digits.
DIGITS = 6e-3
COLUMNS = ("J", "objective", "loss as published", "accuracy at the wells", "|z|²")
INJECTOR, PRODUCER = 7, 119


@pytest.fixture(scope="module")
def matches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of which some are whole, one has members to come, one only began, and the rest are not there."""
    folder: Path = tmp_path_factory.mktemp("project") / "matches"
    prior = matched(n_members=8, n_latent=N_LATENT, ensembles=("prior",), n_iterations=0, seed=1)
    write_run(folder, "published-prior", prior, method="prior")
    wells = with_bridges(matched(n_members=8, n_latent=N_LATENT, n_iterations=2, seed=2))
    write_run(folder, "published-wells", wells, method="gauss-newton", flow=False)
    newton = off_the_bar(matched(n_members=12, n_latent=N_LATENT, seed=3, failed=(3,)))
    write_run(folder, "published-gauss-newton", newton, method="gauss-newton")
    adam = with_status(
        matched(n_members=5, n_latent=N_LATENT, seed=4), {1: "running", 2: "spent", 3: "spent", 4: "running"}
    )
    write_run(folder, "published-adam", adam, method="adam", iterations=20)
    write_run(folder, "own-es-mda", matched(n_members=10, n_latent=N_LATENT, seed=5), method="es-mda")
    begin_run(folder / "own-rml")
    return folder


@pytest.fixture(scope="module")
def text(docs: Mapping[str, ModuleType], matches: Path) -> str:
    """The report, before pictures are drawn."""
    written: str = docs["text"].to_markdown(docs["runs"].find(matches), [], matches.parent / "reports")
    return written


def write_run(matches: Path, name: str, dataset: xr.Dataset, **settings: object) -> None:
    """A run's results, as `rockbank match` leaves them."""
    case = "deepflow_published.yaml" if name.startswith("published") else "deepflow.yaml"
    asked = ASKED | {"case": case, "members": dataset.sizes["member"]} | settings
    dataset = dataset.assign_attrs(
        settings=json.dumps(asked), git_commit="0123456789abcdef", generator_sha256="fedcba9876543210"
    )
    if "z_path" not in dataset:
        path = np.repeat(dataset.z.values[-1][:, None], dataset.sizes["iterate"], axis=1)
        dataset["z_path"] = (("member", "iterate", "latent"), path)
    folder = matches / name
    folder.mkdir(parents=True)
    dataset.to_netcdf(folder / POSTERIOR, engine="h5netcdf")


def begin_run(folder: Path) -> None:
    """One of three members has ended, one is on its way, one has not begun; nothing is gathered."""
    (folder / MEMBERS).mkdir(parents=True)
    asked = Settings(
        case="cases/deepflow.yaml", case_sha256="", inputs={}, generator="channels/2", method="rml", members=3, seed=7
    )
    write_json(folder / SETTINGS, asdict(asked))
    parts = Parts(flow=1.0, wells=1.0, prior=1.0, time_mean=1.0, accuracy=1.0)
    state = State(records=(Record(z=np.zeros(2), parts=parts, cost=Cost()),))
    state.ended("converged", "enough").save(folder / MEMBERS / "0000.npz")
    state.save(folder / MEMBERS / "0001.npz")


def with_status(dataset: xr.Dataset, of: Mapping[int, str]) -> xr.Dataset:
    """Some members have not ended, or reached their iteration limit."""
    status = dataset.status.values.copy()
    status[list(of)] = list(of.values())
    return dataset.assign(status=("member", status))


def off_the_bar(dataset: xr.Dataset) -> xr.Dataset:
    """All members are good but 1, whose J is high, and 2, whose facies are wrong at the wells; 3 failed."""
    j, i = dataset.facies_cell_j.values, dataset.facies_cell_i.values
    is_sand = dataset.facies_is_sand.values
    time_mean = dataset.time_mean.values
    has_failed = np.isnan(time_mean[1])
    facies = dataset.facies.values
    facies[1][:, j, i] = is_sand
    facies[1, 2][j, i] = ~is_sand
    facies[1, has_failed] = np.nan
    time_mean[1, ~has_failed] = np.linspace(1, 1.9, (~has_failed).sum())
    time_mean[1, 1] = 17.5
    dataset.reason[1] = "no step lessens | the objective"
    return dataset


def with_bridges(dataset: xr.Dataset) -> xr.Dataset:
    """Sand connects the wells in members 0, 1 and 2, and in 3 but for a gap of two cells; the others have none."""
    facies = dataset.facies.values
    facies[1] = 0
    facies[1, :4, 30, INJECTOR : PRODUCER + 1] = 1
    facies[1, 3, 30, 60:62] = 0
    return dataset


def rows_of(text: str, heading: str) -> list[dict[str, str]]:
    """The first table below a heading, each row by its columns."""
    lines = text.split(f"\n{heading}\n", 1)[1].splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("|"))
    found = []
    for line in lines[begin:]:
        if not line.startswith("|"):
            break
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        found.append([cell.replace(r"\|", "|").strip() for cell in cells])
    head, _, *rows = found
    return [dict(zip(head, row, strict=True)) for row in rows]


def row_of(text: str, heading: str, first: str) -> dict[str, str]:
    """The one row whose first cell is as given."""
    (found,) = (row for row in rows_of(text, heading) if next(iter(row.values())) == first)
    return found


def numbers(cell: str) -> list[float]:
    """Median, least and greatest, as the cell says them."""
    return [float(each) for each in re.findall(r"[\d.]+(?:e[-+]\d+)?", cell.replace(",", ""))]


def ended(matches: Path, name: str) -> xr.Dataset:
    """The posterior, or else the prior, of the members that ended."""
    dataset = read_posterior(matches / name)
    return dataset.isel(ensemble=-1, member=~np.isin(dataset.status.values.astype(str), ("running", "failed")))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("published-prior", "prior"),
        ("published-wells", "wells"),
        ("published-adam", "flow and wells, adam"),
        ("published-gauss-newton", "flow and wells, gauss-newton"),
        ("own-es-mda", "flow and wells, es-mda"),
    ],
)
def test_the_table_says_what_the_members_that_ended_have(matches: Path, text: str, name: str, label: str) -> None:
    of = ended(matches, name)
    norms = (of.z.values**2).sum(axis=1)
    at_wells = of.facies.values[:, of.facies_cell_j.values, of.facies_cell_i.values]
    counts_flow = name != "published-wells"
    expected = {
        "J": of.time_mean.values,
        "objective": of.loss_flow.values + of.loss_wells.values + of.loss_prior.values,
        "loss as published": counts_flow * of.time_mean.values + of.loss_wells.values + norms / (2 * N_LATENT),
        "accuracy at the wells": ((at_wells > 0.5) == of.facies_is_sand.values).mean(axis=1),
        "|z|²": norms,
    }
    heading = f"## {'The published' if name.startswith('published') else 'Our own'} generator and observations"
    row = row_of(text, heading, label)
    for column in COLUMNS:
        values = expected[column]
        told = [np.median(values), values.min(), values.max()]
        # One number where all members have the same.
        shown = told if np.ptp(values) > DIGITS * abs(told[0]) else told[:1]
        assert numbers(row[column]) == pytest.approx(shown, rel=DIGITS), column
    assert float(row["accuracy ≥ 0.987, %"]) == pytest.approx(
        100 * (expected["accuracy at the wells"] >= 0.987).mean(), rel=DIGITS
    )


def test_results_alone_make_the_report_of_the_checkpoints(
    docs: Mapping[str, ModuleType], matches: Path, text: str, tmp_path: Path
) -> None:
    for folder in matches.iterdir():
        if (folder / POSTERIOR).is_file():
            write_posterior(tmp_path / "matches" / folder.name, compact(read_posterior(folder)))
        else:
            shutil.copytree(folder, tmp_path / "matches" / folder.name)
    alone = docs["text"].to_markdown(docs["runs"].find(tmp_path / "matches"), [], tmp_path / "reports")
    assert alone == text


def test_results_without_checkpoints_are_not_stale(docs: Mapping[str, ModuleType], tmp_path: Path) -> None:
    begin_run(tmp_path / "own-rml")
    shutil.rmtree(tmp_path / "own-rml" / MEMBERS)
    results = matched(n_members=3, n_latent=N_LATENT, n_iterations=2).assign_attrs(checkpoints_sha256="of before")
    write_run(tmp_path / "beside", "own-rml", results, method="rml")
    (tmp_path / "beside" / "own-rml" / POSTERIOR).rename(tmp_path / "own-rml" / POSTERIOR)
    (run,) = (run for run in docs["runs"].find(tmp_path) if run.members)
    assert (run.note, run.is_whole) == ("", True)


def test_the_objective_of_a_run_with_the_published_scaling_is_the_posteriors(
    docs: Mapping[str, ModuleType], tmp_path: Path
) -> None:
    of = matched(n_members=6, n_latent=N_LATENT, seed=8)
    write_run(tmp_path, "published-adam-loss", of, method="adam", scaling="published")
    (run,) = (run for run in docs["runs"].find(tmp_path) if run.members)
    end = of.isel(ensemble=-1)
    flow = 0.5 * (((end.simulated - end.observed) / end.sigma) ** 2).sum("observation").values
    expected = flow + end.loss_wells.values + 0.5 * (end.z.values**2).sum(axis=1)
    np.testing.assert_allclose(docs["numbers"].ends(run.results).objective, expected, rtol=1e-12)
    # Of its way only J is known and the loss that it minimised.
    reached = docs["numbers"].thresholds(docs["numbers"].histories(run.results))
    assert [name.split()[0] for name in reached] == ["J", "published"]
    assert not run.plan.is_compared


def test_connected_members_are_counted_before_and_after_the_dilation(text: str) -> None:
    row = row_of(text, "## The published generator and observations", "wells")
    assert (row["connected, %"], row["after dilation, %"]) == ("37.5", "50")


def test_the_paper_stands_above_our_runs_of_each_scenario(text: str) -> None:
    rows = rows_of(text, "## The published generator and observations")
    names = [row[""] for row in rows]
    assert [name for name in names if "paper" in name] == [f"*paper, scenario {i}*" for i in (1, 2, 3, 4)]
    assert names.index("*paper, scenario 4*") < names.index("flow and wells, adam")
    paper = rows[names.index("*paper, scenario 4*")]
    assert (paper["accuracy ≥ 0.987, %"], paper["after dilation, %"]) == ("*73*", "*100*")
    assert "*paper" not in text.split("## Our own generator and observations")[1]


def test_nothing_is_claimed_of_runs_that_are_not_there(text: str) -> None:
    states = {row["run"]: row for row in rows_of(text, "## What was run")}
    assert len(states) == 17
    assert states["published-rml"]["state"] == states["own-prior"]["state"] == "not run"
    assert states["published-rml"]["a row per member"] == "–"
    row = row_of(text, "## The published generator and observations", "flow and wells, rml")
    assert row.pop("members") == "not run"
    assert set(row.values()) == {"flow and wells, rml", "–"}
    row = row_of(text, "### Iterations and cost", "flow, adam")
    assert list(row.values()) == ["flow, adam", "not run", "–", "–", "–"]
    assert "Nothing to compare. published-flow-adam: not run. published-flow-gauss-newton: not run." in text


def test_members_still_to_come_are_told(text: str) -> None:
    states = {row["run"]: row["state"] for row in rows_of(text, "## What was run")}
    state = "3 of 5 members ended, 2 reached their iteration limit; not as planned: iterations 20, not the method's own"
    assert states["published-adam"] == state
    assert states["published-gauss-newton"] == "11 of 12 members ended, 1 failed"
    assert states["own-rml"].startswith("1 of 3 members ended; no results yet")
    row = row_of(text, "## The published generator and observations", "flow and wells, adam")
    assert row["members"] == state


def test_members_that_miss_the_bar_are_told_with_their_reasons(text: str) -> None:
    heading = "## Gauss-newton with flow and wells"
    rows = {row["member"]: row for row in rows_of(text, heading)}
    assert set(rows) == {"1", "2", "3"}
    assert (rows["1"]["J"], rows["1"]["reason"]) == ("17.5", "no step lessens | the objective")
    assert (rows["2"]["accuracy"], rows["3"]["status"], rows["3"]["J"]) == ("0", "failed", "–")
    assert rows["1"]["unseen cells"] == rows["3"]["unseen cells"] == "0"
    assert int(rows["2"]["unseen cells"]) > 0
    assert "Of the 12 members of published-gauss-newton that ended or failed, 9 end with" in text
    bars = rows_of(text, "## In short")
    assert [row["got"] for row in bars] == ["75", "–", "–", "–"]
    assert bars[0]["met"] == "**not met**"
    assert all(row["met"].startswith("open") for row in bars[1:])


def test_facies_that_the_wells_alone_leave_wrong_are_told(docs: Mapping[str, ModuleType], tmp_path: Path) -> None:
    of = off_the_bar(matched(n_members=6, n_latent=N_LATENT, seed=3))
    write_run(tmp_path, "own-wells", of, method="gauss-newton", flow=False)
    (run,) = (run for run in docs["runs"].find(tmp_path) if run.members)
    (said,) = docs["tables"].wells_alone(run)
    assert "5 of the 6 members of own-wells" in said


def test_each_run_has_the_command_that_makes_it(text: str) -> None:
    commands = [line.strip() for line in text.splitlines() if line.startswith("    rockbank match ")]
    assert len(commands) == 17
    assert commands[1] == (
        "rockbank match cases/deepflow_published.yaml --generator deepflow@candidate --method gauss-newton --members 8 "
        "--seed 7 --terms wells --name published-wells"
    )
    assert commands[4].endswith("--method adam --members 5 --seed 7 --iterations 20 --name published-adam")
    own = "cases/deepflow.yaml --generator channels@champion --method rml --members 3 --seed 7 --name own-rml"
    assert commands[15] == f"rockbank match {own}"


def test_thresholds_are_reached_where_the_histories_first_pass_them(matches: Path, text: str) -> None:
    of = ended(matches, "published-gauss-newton")
    history = of.history_flow.values + of.history_wells.values + of.history_prior.values
    steps, costs = [], []
    for path, cost in zip(history, of.history_cost.values, strict=True):
        below = [i for i, value in enumerate(path) if value <= 1e3]
        steps += below[:1]
        costs += [cost[i] for i in below[:1]]
    rows = rows_of(text, "### Iterations and cost")
    (row,) = (
        row for row in rows if row[""] == "flow and wells, gauss-newton" and row["threshold"] == "objective ≤ 1,000"
    )
    assert row["members that reach it"] == f"{len(steps)} of 11"
    assert numbers(row["iterations to it"]) == pytest.approx([np.median(steps), min(steps), max(steps)], rel=DIGITS)
    assert numbers(row["cost to it"]) == pytest.approx([np.median(costs), min(costs), max(costs)], rel=DIGITS)


def test_members_stand_where_their_last_iterate_before_a_cost_left_them(docs: Mapping[str, ModuleType]) -> None:
    cost = np.array([[1.0, 4.0, 9.0], [2.0, 5.0, np.nan]])
    values = np.array([[8.0, 4.0, 2.0], [7.0, 3.0, np.nan]])
    of = docs["numbers"].Histories(cost=cost, objective=values, time_mean=values, loss=values)
    stands = of.standing(values, np.array([0.5, 1.0, 4.5, 100.0]))
    np.testing.assert_array_equal(stands, [[np.nan, 8, 4, 2], [np.nan, np.nan, 7, 3]])
    reached = of.to(values, 3.0)
    np.testing.assert_array_equal(reached.iterations, [2, 1])
    np.testing.assert_array_equal(reached.cost, [9, 5])
    assert of.to(values, 2.5).n == 1


def test_a_folder_without_any_run_is_refused(tmp_path: Path, docs: Mapping[str, ModuleType]) -> None:
    with pytest.raises(ValueError, match="none of the report's runs is there; begin with 'rockbank match cases/"):
        docs["runs"].find(tmp_path)


def test_results_older_than_their_members_are_told(tmp_path: Path, docs: Mapping[str, ModuleType]) -> None:
    begin_run(tmp_path / "own-rml")
    results = matched(n_members=3, n_latent=N_LATENT, n_iterations=2).assign_attrs(checkpoints_sha256="of before")
    write_run(tmp_path / "beside", "own-rml", results, method="rml")
    (tmp_path / "beside" / "own-rml" / POSTERIOR).rename(tmp_path / "own-rml" / POSTERIOR)
    (run,) = (run for run in docs["runs"].find(tmp_path) if run.members)
    assert run.state.startswith("3 of 3 members ended; older than its members")
    assert not run.is_whole


@pytest.mark.slow
def test_the_report_comes_with_its_pictures_and_tables(docs: Mapping[str, ModuleType], matches: Path) -> None:
    root = matches.parent
    docs["report"].main(root)
    path = root / "reports" / "deepflow.md"
    written = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", written)
    linked = {path.parent / link for link in links if not link.startswith("http")}
    missing = {each.name for each in linked if not each.is_file()}
    assert not missing
    pictures = {each.resolve() for each in linked if each.suffix == ".png"}
    assert pictures == set((root.resolve() / "docs" / "pictures").iterdir())
    assert {f"deepflow_published_{name}.png" for name in ("curves", "maps", "losses", "wells", "slerp", "methods")} <= {
        each.name for each in pictures
    }
    for each in pictures:
        with Image.open(each) as picture:
            assert np.ptp(np.asarray(picture.convert("L"))) > 100
    rows = pd.read_csv(root / "reports" / "deepflow" / "published-adam.csv")
    np.testing.assert_array_equal(rows.status, ["converged", "running", *["max_iterations_reached"] * 2, "running"])
    assert not (root / "reports" / "deepflow" / "own-rml.csv").exists()
