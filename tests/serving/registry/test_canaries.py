"""A canary becomes champion where its rules hold, and is given up where one is broken."""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rockbank.drift.distances import Distances
from rockbank.mlops import registry
from serving.base.settings import Settings
from serving.inference.outcomes import Outcomes
from serving.keys import make_key
from serving.registry import canaries
from serving.watch.canary import Decision, Observed, judge
from serving.watch.statistics import StatisticReport, WindowReport
from serving.watch.watch import Window
from tests.serving.conftest import InProcess, Make, Serve
from tests.serving.registry.test_follower import SECONDS, follow, value, version_of


def outcomes(n: int, n_failed: int = 0, seconds: float = 0.01) -> Outcomes:
    found = Outcomes()
    for i in range(n):
        found.add(500 if i < n_failed else 200, seconds)
    return found


@pytest.mark.parametrize(
    ("canary", "verdict", "rule"),
    [
        (outcomes(5), "wait", "requests"),
        (outcomes(100, n_failed=4), "give_up", "errors"),
        (outcomes(100, seconds=0.03), "give_up", "latency"),
        (outcomes(100, n_failed=1, seconds=0.012), "wait", "statistics"),
    ],
)
def test_a_rule_decides_by_what_was_measured(
    canary: Outcomes, verdict: str, rule: str, settings: Callable[..., Settings]
) -> None:
    champion = Observed(outcomes=outcomes(100), report=None)
    found = judge(Observed(outcomes=canary, report=None), champion, 1e9, settings(canary_requests=50))
    assert (found.verdict, found.rule) == (verdict, rule)


async def compared(running: InProcess, n: int = 40, *, method: str = "POST", path: str = "generate") -> None:
    """Requests to both, and windows of both, then a judgement."""
    given: dict[str, Any] = {"json": {"n": 4}} if method == "POST" else {"params": {"seed": 7, "n": 4}}
    await running.service.canaries.judge()
    for i in range(n):
        for _ in range(2):
            headers = {"X-Request-Id": f"r{i}"}
            await running.client.request(method, f"/v2/models/shale/{path}", headers=headers, **given)
    await running.service.canaries.judge()


async def test_a_canary_that_keeps_its_rules_becomes_champion_in_the_registry(shale: Path, serve: Serve) -> None:
    registry.set_alias("shale", registry.CANDIDATE, "2")
    rules: dict[str, Any] = {"canary_seconds": 0.01, "canary_requests": 10, "canary_latency_ratio": 1000.0}
    async with serve(canary_weight=0.5, canary_promotes=True, statistics_fraction=1.0, **rules) as running:
        await running.service.canaries.judge()
        n = 0
        while (
            value(running, "canary_decisions_total", model="shale", version="2", verdict="promote", rule="time") is None
        ):
            await running.client.post(
                "/v2/models/shale/generate", json={"n": 4}, headers={"X-Request-Id": f"r{(n := n + 1)}"}
            )
            assert n < 2000
            if n % 50 == 0:
                await running.service.canaries.judge()
        await follow(running)
        assert await version_of(running) == "2"
    assert registry.resolve("shale@champion").version == "2"


@pytest.mark.parametrize(("method", "path"), [("POST", "generate"), ("GET", "samples")])
async def test_a_canary_that_fails_is_given_up_and_stays_away(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    registry.set_alias("shale", registry.CANDIDATE, "2")
    async with serve(canary_weight=0.5, canary_requests=10) as running:
        canary = running.service.models.slot("shale").canary
        assert canary is not None

        def fail(latents: Any) -> Any:
            raise RuntimeError("broken")

        monkeypatch.setattr(canary.generator, "run", fail)
        await compared(running, method=method, path=path)
        count = value(running, "canary_decisions_total", model="shale", version="2", verdict="give_up", rule="errors")
        assert count == 1
        await follow(running)
        assert running.service.models.slot("shale").canary is None
        assert {await version_of(running) for _ in range(8)} == {"1"}


def window(kolmogorov: float) -> WindowReport:
    """Of samples whose porosity is as far from rock's, where 0.2 is its limit."""
    distances, limits = (Distances(wasserstein=0.05, ks=ks) for ks in (kolmogorov, 0.2))
    porosity = StatisticReport(
        mean=0.2, std=0.1, reference_mean=0.2, distances=distances, limits=limits, windows_over=0
    )  # fmt: skip
    return WindowReport(
        n=32, n_nan=0, saturated_fraction=0.0, statistics={"porosity": porosity},
        diversity_ratio=1.0, diversity_least=0.8, diversity_windows_under=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("canary", "champion", "verdict"),
    [
        (0.19, None, "promote"),
        (0.5, None, "give_up"),
        (0.5, 0.1, "give_up"),
        (0.5, 0.6, "promote"),
        (0.9, 0.3, "give_up"),
    ],
)
def test_samples_may_be_over_their_limit_by_as_much_as_the_champions_are(
    canary: float, champion: float | None, verdict: str, settings: Callable[..., Settings]
) -> None:
    ours = Observed(outcomes=outcomes(100), report=window(canary))
    theirs = Observed(outcomes=outcomes(100), report=None if champion is None else window(champion))
    given = settings(canary_requests=50, canary_seconds=1, canary_statistics_ratio=1.2)
    found = judge(ours, theirs, 2.0, given)
    assert found.verdict == verdict
    if verdict == "give_up":
        assert found.rule == "statistics"
        assert f"porosity of its samples is {canary / 0.2:.3g} times its limit" in found.reason


def test_one_value_that_is_not_finite_is_enough_in_whichever_window(settings: Callable[..., Settings]) -> None:
    champion = Observed(outcomes=outcomes(100), report=window(0.1))
    given = settings(canary_requests=50, canary_seconds=1)
    for n_nan, verdict in ((0, "promote"), (1, "give_up")):
        canary = Observed(outcomes=outcomes(100), report=window(0.1), n_nan=n_nan)
        found = judge(canary, champion, 2.0, given)
        assert found.verdict == verdict
    assert (found.rule, found.reason) == ("statistics", "1 of its samples have a value that is not finite; none may")


def test_a_canary_of_whose_samples_nothing_is_compared_is_not_promoted(settings: Callable[..., Settings]) -> None:
    nothing = Observed(outcomes=outcomes(100), report=replace(window(0.1), statistics={}))
    found = judge(nothing, nothing, 1e9, settings(canary_requests=50, canary_seconds=1))
    assert (found.verdict, found.rule) == ("wait", "statistics")
    assert "register the generator again" in found.reason


async def test_a_canary_whose_samples_are_not_finite_is_given_up(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    registry.set_alias("shale", registry.CANDIDATE, "2")
    rules: dict[str, Any] = {"canary_seconds": 0.01, "canary_requests": 10, "canary_latency_ratio": 1000.0}
    async with serve(canary_weight=0.5, canary_promotes=True, statistics_fraction=1.0, **rules) as running:
        canary = running.service.models.slot("shale").canary
        assert canary is not None
        right = canary.generator.run
        monkeypatch.setattr(canary.generator, "run", lambda latents: np.full_like(right(latents), np.nan))
        await compared(running)
        async with asyncio.timeout(SECONDS):
            while running.service.models.slot("shale").canary is not None:
                await asyncio.sleep(0.02)
                await running.service.canaries.judge()
    (line,) = decisions(capfd)
    assert (line["verdict"], line["rule"]) == ("give_up", "statistics")
    assert "of its samples have a value that is not finite" in line["message"]
    assert registry.resolve("shale@champion").version == "1"


def decisions(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What the log says of canaries."""
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    return [line for line in lines if "verdict" in line]


def watched(running: InProcess, version: str, *reports: WindowReport) -> None:
    """Have the watch say these of the windows of a version."""
    running.service.watch.history["shale", version] = deque(Window(at=0.0, report=each) for each in reports)


async def test_a_canary_whose_samples_leave_the_rock_is_given_up_and_the_log_says_why(
    shale: Path, serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    registry.set_alias("shale", registry.CANDIDATE, "2")
    async with serve(canary_weight=0.5, canary_requests=10, canary_latency_ratio=1000.0) as running:
        watched(running, "2", window(0.9))
        await compared(running)
        slot = running.service.models.slot("shale")
        assert (slot.canary, slot.given_up) == (None, "2")
        counted = value(
            running, "canary_decisions_total", model="shale", version="2", verdict="give_up", rule="statistics"
        )
        assert counted == 1
        # Once: it is not judged again.
        await running.service.canaries.judge()
    (line,) = decisions(capfd)
    assert (line["level"], line["model"], line["version"]) == ("WARNING", "shale", "2")
    assert (line["verdict"], line["rule"]) == ("give_up", "statistics")
    assert "canary shale/2: give_up: the porosity of its samples is 4.5 times its limit" in line["message"]


async def test_a_canary_that_is_given_up_is_closed_and_no_restart_brings_it_back(
    shale: Path, serve: Serve, generator_folder: Make
) -> None:
    registry.push("shale", generator_folder(kid=0.04, weights_seed=3))
    registry.set_alias("shale", registry.CANDIDATE, "2")
    exposed = {"model": "shale", "version": "2", "provider": "CPUExecutionProvider"}
    async with serve(canary_weight=0.5, canary_requests=10, canary_latency_ratio=1000.0) as running:
        canary = running.service.models.slot("shale").canary
        assert canary is not None
        assert value(running, "provider_info", **exposed) == 1
        watched(running, "2", window(0.9))
        await compared(running)
        async with asyncio.timeout(SECONDS):
            while canary.folder.exists():
                await asyncio.sleep(0.02)
        assert canary.is_closed
        assert value(running, "provider_info", **exposed) is None
        assert ("shale", "2") not in running.service.watch.history
    async with serve(canary_weight=1.0) as running:
        assert await version_of(running) == "1"
        # Until the alias names another, and then for good.
        for version in ("3", "2"):
            registry.set_alias("shale", registry.CANDIDATE, version)
            await follow(running)
            assert await version_of(running) == version
    async with serve(canary_weight=1.0) as running:
        assert await version_of(running) == "2"


async def test_a_canary_whose_kid_is_worse_is_not_promoted_and_the_log_says_so(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    registry.set_alias("shale", registry.CHAMPION, "2")
    registry.set_alias("shale", registry.CANDIDATE, "1")
    kept = Decision(verdict="promote", rule="time", reason="all rules hold")
    monkeypatch.setattr(canaries, "judge", lambda *_: kept)
    async with serve(canary_weight=0.5, canary_promotes=True) as running:
        for _ in range(3):
            await running.service.canaries.judge()
        await follow(running)
        assert running.service.models.find("shale").version == "2"
        counted = value(
            running, "canary_decisions_total", model="shale", version="1", verdict="give_up", rule="registry"
        )
        assert counted == 1
    assert registry.resolve("shale@champion").version == "2"
    first, second = decisions(capfd)
    assert (first["verdict"], first["rule"]) == ("promote", "time")
    assert (second["verdict"], second["rule"]) == ("give_up", "registry")
    assert "kid 0.1 > 0.05 of the champion, version 2; 'rockbank promote' decides" in second["message"]


async def test_calls_of_admins_are_written_down_allowed_or_not(shale: Path, serve: Serve, tmp_path: Path) -> None:
    (user, line), (admin, another) = make_key("user"), make_key("boss", "admin")
    (tmp_path / "keys").write_text(f"{line}\n{another}\n")
    async with serve(keys_file=tmp_path / "keys", audit_file=tmp_path / "audit.jsonl") as running:
        for key in (user, admin):
            await running.client.post("/v2/repository/poll", headers={"X-API-Key": key})
        await running.client.get("/v2/models", headers={"X-API-Key": admin})
    lines = [json.loads(each) for each in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(each["key"], each["status"], each["path"]) for each in lines] == [
        ("user", 403, "/v2/repository/poll"),
        ("boss", 202, "/v2/repository/poll"),
    ]


async def test_a_rollback_is_written_down_with_who_asked_for_it(shale: Path, serve: Serve, tmp_path: Path) -> None:
    admin, line = make_key("boss", "admin")
    (tmp_path / "keys").write_text(f"{line}\n")
    async with serve(keys_file=tmp_path / "keys", audit_file=tmp_path / "audit.jsonl") as running:
        headers = {"X-API-Key": admin, "X-Request-Id": "rollback-1"}
        assert (await running.client.post("/v2/models/shale/rollback", headers=headers)).status_code == 409
        registry.set_alias("shale", registry.CHAMPION, "2")
        await follow(running)
        assert (await running.client.post("/v2/models/shale/rollback", headers=headers)).json()["version"] == "1"
    lines = [json.loads(each) for each in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(each["key"], each["status"], each["path"], each["request_id"]) for each in lines] == [
        ("boss", status, "/v2/models/shale/rollback", "rollback-1") for status in (409, 200)
    ]
