"""The bars of the report on DeepFlow's case, and the files of measurements that it reads."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from rockbank.core.files import write_json
from tests.matching.synthetic import matched
from tests.tools.deepflow_modules import ASKED, N_LATENT, docs

__all__ = ["docs"]


def duel(docs: Mapping[str, ModuleType], n: int, fast: float, note: str = "") -> pd.DataFrame:
    """Adam's n members end at 100 + i for a cost of 2000; those of gauss-newton get there at `fast` (1 + i), but for
    member 0, which never does, and for member 1, which began elsewhere.
    """
    runs, found = docs["runs"], {}
    i = np.arange(n)[:, None]
    for method in ("adam", "gauss-newton"):
        of = matched(n_members=n, n_latent=N_LATENT, n_iterations=4, seed=6, has_segments=False)
        start = of.z.values[0].copy()
        if method == "adam":
            flow = np.array([4000.0, 2000, 1000, 500, 100]) + i
            cost = np.broadcast_to(np.linspace(0, 2000, 5), flow.shape)
        else:
            flow = np.array([4000.0, 2000, 100, 50, 20]) + np.where(i == 0, 500, i)
            cost = fast * (1 + i) * np.array([0.0, 0.5, 1, 2, 3])
            start[1] += 1
        of["z"] = of.z.copy(data=np.stack([start, of.z.values[1]]))
        path = np.repeat(start[:, None], of.sizes["iterate"], axis=1)
        of["z_path"] = (("member", "iterate", "latent"), path)
        for part, values in (("flow", flow), ("wells", 0 * flow), ("prior", 0 * flow), ("cost", cost)):
            of[f"history_{part}"] = (("member", "iterate"), values)
        plan = runs.Plan(name=f"published-{method}", scenario=4, method=method, members=n)
        results = runs.Results(plan=plan, settings=ASKED, whole=of, dataset=of)
        found[method] = runs.Found(plan=plan, settings=ASKED, results=results, members=n, ended=n, note=note)
    adam, newton = found.values()
    bar = docs["bars"].equal_cost(adam, newton)
    return docs["numbers"].against_adam(adam.results, newton.results).assign(got=bar.got, verdict=bar.verdict)


def test_gauss_newton_is_held_against_adam_member_by_member(docs: Mapping[str, ModuleType]) -> None:
    rows = duel(docs, 12, 4.0)
    members = np.array([0, *range(2, 12)])
    np.testing.assert_array_equal(rows.member, members)
    np.testing.assert_array_equal(rows.objective, 100 + members)
    np.testing.assert_array_equal(rows.cost_newton, np.where(members == 0, np.inf, 4.0 * (1 + members)))
    # The parts are inf and 0.002 (1 + member) of 2 .. 11: the median of the eleven is that of member 7.
    assert rows.got[0] == pytest.approx(0.016)
    assert rows.verdict[0] == "met"


def test_a_bar_is_not_met_beyond_its_limit(docs: Mapping[str, ModuleType]) -> None:
    assert duel(docs, 12, 40.0).verdict[0] == "**not met**"


def test_too_few_members_leave_the_comparison_open(docs: Mapping[str, ModuleType]) -> None:
    verdict = duel(docs, 5, 4.0).verdict[0]
    assert verdict == "open: 4 of 10 members have ended in both from the same start"


def test_a_run_that_is_not_as_planned_leaves_the_comparison_open(docs: Mapping[str, ModuleType]) -> None:
    assert duel(docs, 12, 4.0, "older than its members").verdict[0].startswith("open: published-adam is older")


def test_times_are_those_of_their_file(tmp_path: Path, docs: Mapping[str, ModuleType]) -> None:
    path = tmp_path / "times.json"
    bars, tables = docs["bars"], docs["tables"]
    nothing = bars.read_times(path)
    assert tables.times_text(nothing) == ["Not measured."]
    assert bars.core_minutes(nothing).verdict == bars.scaling(nothing).verdict == "open: not measured"
    write_json(
        path,
        {
            "git_commit": "0123456789abcdef",
            "member_cpu_seconds": [60, 120, None, 600, 60],
            "scaling": {"one": 100.0, "two": 60.0, "members": 20, "jacobians": 3},
        },
    )
    of = bars.read_times(path)
    assert (bars.core_minutes(of).got, bars.core_minutes(of).verdict) == (2, "met")
    assert bars.scaling(of).got == pytest.approx(100 / 60)
    assert bars.scaling(of).verdict == "**not met**"
    assert "1.5 (1–10) core-minutes to J ≤ 2, over 5 members, of which 1 end above it" in tables.times_text(of)[1]


def test_the_valley_is_that_of_its_file(tmp_path: Path, docs: Mapping[str, ModuleType]) -> None:
    path, tables, runs = tmp_path / "valley.json", docs["tables"], docs["runs"]
    of = matched(n_members=3, n_latent=N_LATENT).assign_attrs(checkpoints_sha256="of now")
    plan = runs.Plan(name="published-gauss-newton", scenario=4, method="gauss-newton", members=3)
    results = runs.Results(plan=plan, settings=ASKED, whole=of, dataset=of)
    run = runs.Found(plan=plan, settings=ASKED, results=results, members=3, ended=3)
    assert tables.valley_text(path, run)[0].startswith("Not measured")
    iterates = [
        {"kind": kind, "member": i, "iterate": 3, "flow": 400.0, "singular_values": [900.0, 30.0], "pressure": 0.98,
         "straight": 0.01 * i, "corrected": 0.1 * i}
        for i, kind in enumerate(["creeps", "creeps", "goes"])
    ]  # fmt: skip
    valley = {"run": "published-gauss-newton", "checkpoints_sha256": "of now", "ranks": [1, 6], "iterates": iterates}
    write_json(path, valley)
    said = tables.valley_text(path, run)
    assert "| creeps | 1 | 3 | 400 | 900 | 30 | 98 | 1 | 10 |" in said[1]
    assert (
        said[2]
        == "In the median where it creeps, 0.5 % straight and 5 % corrected; where it goes, 2 % straight and 20 % "
        "corrected."
    )
    write_json(path, valley | {"checkpoints_sha256": "of before"})
    assert tables.valley_text(path, run)[2].endswith("members of before; published-gauss-newton has others now.")
