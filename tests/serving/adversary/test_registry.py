"""What the registry and the files do behind the service's back: no outage is an absence, no decision is forgotten."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

from rockbank.generator.card import ONNX, REFERENCE, ModelCard
from rockbank.mlops import registry
from serving.registry.loading import Loader
from tests.serving.conftest import InProcess, Serve
from tests.tiny_generators import write_tiny_onnx


async def follow(running: InProcess) -> None:
    for slot in running.service.models.slots.values():
        await running.service.follower._guarded(slot)


def value(running: InProcess, name: str, **labels: str) -> float | None:
    return running.service.metrics.registry.get_sample_value(f"rockbank_{name}", labels)


async def index(running: InProcess) -> dict[str, Any]:
    (model,) = (await running.client.get("/v2/models")).json()
    return dict(model)


async def test_a_store_that_is_gone_is_an_outage_and_is_not_made_again(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        database = shale / "mlflow.db"
        database.rename(shale / "away.db")
        await follow(running)
        assert value(running, "has_champion", model="shale") == 1
        assert "does not answer" in (await index(running))["problem"]
        assert not database.exists()
        # What a disk that was full or a copy that broke off leaves.
        database.touch()
        await follow(running)
        assert value(running, "has_champion", model="shale") == 1
        assert "the store is empty" in (await index(running))["problem"]
        assert database.stat().st_size == 0


async def test_a_project_whose_store_is_gone_has_not_lost_its_champion(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as running:
        monkeypatch.setattr(registry.store, "is_absent", lambda: True)
        await follow(running)
        assert value(running, "has_champion", model="shale") == 1
        assert "does not answer: shale@champion: nothing is registered" in (await index(running))["problem"]


async def test_a_restart_keeps_a_rollback(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        registry.set_alias("shale", registry.CHAMPION, "2")
        await follow(running)
        assert (await running.client.post("/v2/models/shale/rollback")).json()["version"] == "1"
    async with serve() as running:
        assert (await index(running))["current"] == "1"
        assert "2 was rolled back from" in (await index(running))["problem"]
        # Until the alias moves, and then for good.
        registry.set_alias("shale", registry.CHAMPION, "1")
        await follow(running)
        registry.set_alias("shale", registry.CHAMPION, "2")
        await follow(running)
        assert (await index(running))["current"] == "2"
    async with serve() as running:
        assert (await index(running))["current"] == "2"


async def test_what_a_full_disk_kept_from_being_noted_is_noted_once_there_is_room(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with serve() as running:
        registry.set_alias("shale", registry.CHAMPION, "2")
        with monkeypatch.context() as patched:
            patched.setattr(Loader, "remember", full)
            await follow(running)
        assert (await index(running))["current"] == "2"
        await follow(running)
    (shale / "mlflow.db").rename(shale / "away.db")
    async with serve() as running:
        assert (await index(running))["current"] == "2"


async def test_one_version_is_the_champion(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        registry.set_alias("shale", registry.CHAMPION, "2")
        await follow(running)
        aliases = {each["version"]: each["aliases"] for each in (await index(running))["versions"]}
        assert aliases == {"2": ["champion"], "1": []}


@pytest.mark.parametrize("name", [ONNX, REFERENCE])
async def test_a_file_that_is_changed_after_it_was_verified_is_not_served(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    verified = Loader._pulled

    def change(self: Loader, entry: registry.Entry, folder: Path) -> ModelCard:
        card = verified(self, entry, folder)
        if name == ONNX:
            # Of the same shapes: only its hash tells.
            write_tiny_onnx(folder / ONNX, weights_seed=9)
        else:
            (folder / name).write_text("{}")
        return card

    async with serve() as running:
        monkeypatch.setattr(Loader, "_pulled", change)
        registry.set_alias("shale", registry.CHAMPION, "2")
        await follow(running)
        assert (await index(running))["current"] == "1"
        assert "sha256 is" in (await index(running))["problem"]
        assert value(running, "load_failures_total", model="shale", reason="hash") == 1


async def test_a_load_that_came_too_late_was_never_there_and_says_why(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, done = Loader.load, asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(self: Loader, entry: registry.Entry) -> Any:
        try:
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.3), loop).result()
            return load(self, entry)
        finally:
            loop.call_soon_threadsafe(done.set)

    async with serve(load_timeout_seconds=60) as running:
        monkeypatch.setattr(Loader, "load", slow)
        monkeypatch.setattr(
            running.service.follower,
            "_settings",
            running.service.settings.model_copy(update={"load_timeout_seconds": 0.1}),
        )
        registry.set_alias("shale", registry.CHAMPION, "2")
        await follow(running)
        await done.wait()
        assert "it was not loaded in 0.1 s; see ROCKBANK_LOAD_TIMEOUT_SECONDS" in (await index(running))["problem"]
        infos = [each for metric in running.service.metrics.model_info.collect() for each in metric.samples]
        assert {each.labels["version"] for each in infos} == {"1"}
