"""A canary becomes champion where its rules hold, and is given up where one is broken."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rockbank.mlops import registry
from serving.base.settings import Settings
from serving.inference.outcomes import Outcomes
from serving.keys import make_key
from serving.watch.canary import Observed, judge
from tests.serving.conftest import InProcess, Serve
from tests.serving.registry.test_follower import follow, value, version_of


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


async def compared(running: InProcess, n: int = 40) -> None:
    """Requests to both, and windows of both, then a judgement."""
    await running.service.canaries.judge()
    for i in range(n):
        for _ in range(2):
            await running.client.post("/v2/models/shale/generate", json={"n": 4}, headers={"X-Request-Id": f"r{i}"})
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


async def test_a_canary_that_fails_is_given_up_and_stays_away(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.set_alias("shale", registry.CANDIDATE, "2")
    async with serve(canary_weight=0.5, canary_requests=10) as running:
        canary = running.service.models.slot("shale").canary
        assert canary is not None

        def fail(latents: Any) -> Any:
            raise RuntimeError("broken")

        monkeypatch.setattr(canary.generator, "run", fail)
        await compared(running)
        count = value(running, "canary_decisions_total", model="shale", version="2", verdict="give_up", rule="errors")
        assert count == 1
        await follow(running)
        assert running.service.models.slot("shale").canary is None
        assert {await version_of(running) for _ in range(8)} == {"1"}


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
