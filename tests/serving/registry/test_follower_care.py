"""What following must not do: break off, delete or keep hold of what is in use, or let back in what was taken out."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rockbank.mlops import registry
from tests.serving.conftest import Make, Serve
from tests.serving.registry.test_follower import SECONDS, follow, version_of


async def test_an_answer_that_outlasts_the_deadline_is_not_broken_off_by_promotions(
    shale: Path, serve: Serve, generator_folder: Make
) -> None:
    registry.push("shale", generator_folder(kid=0.04, weights_seed=3))
    async with serve(deadline_seconds=0.05) as running:
        first = running.service.models.find("shale")
        with first.used():
            for version in ("2", "3"):
                registry.set_alias("shale", registry.CHAMPION, version)
                await follow(running)
            await asyncio.sleep(0.5)
            assert not first.is_closed


async def test_files_of_a_version_that_is_being_loaded_are_not_removed_as_old(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as running:
        loader, loop, ended = running.service.follower._loader, asyncio.get_running_loop(), asyncio.Event()
        begun, right = asyncio.Event(), registry.pull

        def pull(reference: str, folder: Path) -> Any:
            pulled = right(reference, folder)
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(ended.wait(), loop).result(SECONDS)
            return pulled

        monkeypatch.setattr(registry, "pull", pull)
        registry.set_alias("shale", registry.CHAMPION, "2")
        following = asyncio.create_task(follow(running))
        await begun.wait()
        await asyncio.to_thread(loader.prune, "shale", lambda: {"1"})
        ended.set()
        await following
        assert await version_of(running) == "2"
        await asyncio.to_thread(loader.prune, "shale", lambda: {"2"})
        assert [folder.name for folder in (shale / "cache" / "shale").glob("[0-9]*")] == ["2"]


async def test_what_nobody_foresaw_at_the_start_leaves_the_one_served_last(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve():
        pass
    monkeypatch.setattr(registry, "resolve", lambda reference: 1 / 0)
    async with serve() as running:
        assert await version_of(running) == "1"


async def test_what_was_swapped_out_is_closed_though_the_look_at_the_canary_fails(
    shale: Path, serve: Serve, generator_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.push("shale", generator_folder(kid=0.04, weights_seed=3))
    async with serve(canary_weight=0.1) as running:
        first, right = running.service.models.find("shale"), registry.resolve
        monkeypatch.setattr(registry, "resolve", lambda name: 1 / 0 if "candidate" in name else right(name))
        for version in ("2", "3"):
            registry.set_alias("shale", registry.CHAMPION, version)
            await follow(running)
        async with asyncio.timeout(SECONDS):
            while not first.is_closed:
                await asyncio.sleep(0.02)


async def test_a_load_that_hangs_keeps_no_other_model_from_being_followed(
    shale: Path, serve: Serve, generator_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.push("other", generator_folder(kid=0.1, weights_seed=4))
    registry.push("other", generator_folder(kid=0.2, weights_seed=5))
    registry.set_alias("other", registry.CHAMPION, "1")
    async with serve(models="shale,other") as running:
        loop, ended, right = asyncio.get_running_loop(), asyncio.Event(), registry.pull

        def pull(reference: str, folder: Path) -> Any:
            if reference.startswith("shale"):
                asyncio.run_coroutine_threadsafe(ended.wait(), loop).result(SECONDS)
            return right(reference, folder)

        monkeypatch.setattr(registry, "pull", pull)
        registry.set_alias("shale", registry.CHAMPION, "2")
        running.service.follower.poll_now()
        await asyncio.sleep(0.2)
        registry.set_alias("other", registry.CHAMPION, "2")
        running.service.follower.poll_now()
        async with asyncio.timeout(SECONDS):
            while running.service.models.find("other").version != "2":
                await asyncio.sleep(0.02)
        assert running.service.models.find("shale").version == "1"
        ended.set()
