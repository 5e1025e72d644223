"""A candidate that answers a part of the requests, or computes beside the champion without answering."""

import asyncio
from pathlib import Path

import mlflow
import numpy as np
import pytest

from rockbank.mlops import registry
from tests.serving.conftest import Serve
from tests.serving.registry.test_follower import SECONDS, follow, value, version_of
from tests.tiny_generators import tiny_images


async def test_the_canary_answers_its_part_and_the_same_request_the_same_way(shale: Path, serve: Serve) -> None:
    registry.set_alias("shale", registry.CANDIDATE, "2")
    async with serve(canary_weight=0.3) as running:
        by_id: dict[str, str] = {}
        for i in range(120):
            response = await running.client.post("/v2/models/shale/generate", headers={"X-Request-Id": f"r{i}"})
            by_id[f"r{i}"] = response.headers["x-rockbank-version"]
        n_canary = sum(version == "2" for version in by_id.values())
        # Binomial(120, 0.3): five standard deviations are 25.
        assert 11 <= n_canary <= 61
        for i in range(20):
            response = await running.client.post("/v2/models/shale/generate", headers={"X-Request-Id": f"r{i}"})
            assert response.headers["x-rockbank-version"] == by_id[f"r{i}"]
        # Who names a version gets it.
        response = await running.client.post("/v2/models/shale/versions/1/generate")
        assert response.headers["x-rockbank-version"] == "1"
        assert (value(running, "samples_total", model="shale", version="2", route="canary") or 0) >= n_canary
        # Once promoted, it is the canary no longer.
        registry.set_alias("shale", registry.CHAMPION, "2")
        await follow(running)
        assert running.service.models.slot("shale").canary is None
        assert await version_of(running) == "2"


async def test_a_request_counts_for_the_version_that_it_was_given_to_and_for_none_that_it_names(
    shale: Path, serve: Serve
) -> None:
    registry.set_alias("shale", registry.CANDIDATE, "2")
    latents = {"inputs": [{"name": "latent", "shape": [1, 4], "datatype": "FP32", "data": [0.0] * 4}]}
    async with serve(canary_weight=1.0) as running:
        slot, client = running.service.models.slot("shale"), running.client
        assert slot.current is not None
        assert slot.canary is not None

        async def counted(part: str) -> tuple[int, int]:
            """The requests of champion and canary after one of each kind."""
            path = f"/v2/models/shale{part}"
            samples = await client.get(f"{path}/samples", params={"seed": 7})
            kept = {"If-None-Match": samples.headers["ETag"]}
            answers = [
                await client.get(f"{path}/samples", params={"seed": 7}, headers=kept),
                await client.post(f"{path}/generate"),
                await client.post(f"{path}/infer", json=latents),
            ]
            assert [each.status_code for each in answers] == [304, 200, 200]
            return slot.current.outcomes.n, slot.canary.outcomes.n

        # Nothing is computed for a 304.
        assert await counted("") == (0, 3)
        assert await counted("/versions/1") == (0, 3)
        assert await counted("/versions/2") == (0, 3)
        key = {"Idempotency-Key": "once"}
        assert (await client.post("/v2/models/shale/generate", headers=key)).headers["X-Rockbank-Version"] == "2"
        # Whoever comes again gets the version of the first time, whatever is the canary by now.
        slot.previous, slot.canary = slot.canary, None
        assert (await client.post("/v2/models/shale/generate", headers=key)).headers["X-Rockbank-Version"] == "2"
        assert (slot.current.outcomes.n, slot.previous.outcomes.n) == (0, 4)


async def test_a_canary_without_its_alias_is_none(shale: Path, serve: Serve) -> None:
    registry.set_alias("shale", registry.CANDIDATE, "2")
    async with serve(canary_weight=1.0) as running:
        assert await version_of(running) == "2"
        mlflow.MlflowClient().delete_registered_model_alias("shale", "candidate")
        await follow(running)
        assert await version_of(running) == "1"


async def test_what_was_rolled_back_from_does_not_come_back_as_the_canary(shale: Path, serve: Serve) -> None:
    registry.set_alias("shale", registry.CANDIDATE, "2")
    registry.set_alias("shale", registry.CHAMPION, "1")
    async with serve(canary_weight=1.0) as running:
        registry.set_alias("shale", registry.CHAMPION, "2")
        await follow(running)
        await running.client.post("/v2/models/shale/rollback")
        await follow(running)
        assert await version_of(running) == "1"


async def test_the_shadow_computes_and_is_compared_and_never_returned(shale: Path, serve: Serve) -> None:
    registry.set_alias("shale", registry.CANDIDATE, "2")
    async with serve(shadow_fraction=1.0) as running:
        assert {await version_of(running, n=4, seed=7) for _ in range(5)} == {"1"}
        async with asyncio.timeout(SECONDS):
            while value(running, "shadow_difference", model="shale") is None:
                await asyncio.sleep(0.02)
        difference = np.abs(tiny_images(7, 4, 1) - tiny_images(7, 4, 2)).mean() / 2
        # Both are float32 of the same sums.
        assert value(running, "shadow_difference", model="shale") == pytest.approx(difference, rel=1e-4)
        assert (value(running, "samples_total", model="shale", version="2", route="shadow") or 0) >= 4
