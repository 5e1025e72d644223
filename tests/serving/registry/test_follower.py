"""What the alias names is loaded, checked and swapped in; whatever fails, the old one goes on and says why."""

import asyncio
import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from rockbank.core.files import read_json, sha256, write_json
from rockbank.generator.card import CARD, ONNX, VERDICT
from rockbank.mlops import registry
from serving.base.errors import NothingToServe
from tests.serving.conftest import InProcess, Make, Serve
from tests.tiny_generators import tiny_golden, tiny_images

SECONDS = 30.0


async def follow(running: InProcess) -> None:
    """One look at every alias, as the loop takes it."""
    for slot in running.service.models.slots.values():
        await running.service.follower._guarded(slot)


def value(running: InProcess, name: str, **labels: str) -> float | None:
    return running.service.metrics.registry.get_sample_value(f"rockbank_{name}", labels)


async def version_of(running: InProcess, **body: Any) -> str:
    response = await running.client.post("/v2/models/shale/generate", json=body)
    assert response.status_code == 200, response.text
    return response.headers["x-rockbank-version"]


def stored(version: str) -> Path:
    """The folder in which the local store keeps a version of `shale`."""
    return Path(mlflow.artifacts.download_artifacts(f"models:/shale/{version}"))


async def test_a_promotion_is_followed_and_the_one_before_stays_loaded(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        assert await version_of(running) == "1"
        registry.set_alias("shale", registry.CHAMPION, "2")
        await follow(running)
        assert await version_of(running) == "2"
        slot = running.service.models.slot("shale")
        assert slot.previous is not None
        assert slot.previous.version == "1"
        response = await running.client.post("/v2/models/shale/versions/1/generate", json={"seed": 3})
        assert response.headers["x-rockbank-version"] == "1"
        assert value(running, "swaps_total", model="shale") == 1
        assert value(running, "alias_behind_seconds", model="shale") == 0


async def test_the_alias_is_polled(shale: Path, serve: Serve) -> None:
    async with serve(poll_seconds=0.05) as running:
        registry.set_alias("shale", registry.CHAMPION, "2")
        async with asyncio.timeout(SECONDS):
            while await version_of(running) != "2":
                await asyncio.sleep(0.02)


async def test_what_was_before_the_previous_is_drained_and_closed(
    shale: Path, serve: Serve, generator_folder: Make
) -> None:
    registry.push("shale", generator_folder(kid=0.04, weights_seed=3))
    async with serve() as running:
        first = running.service.models.find("shale")
        with first.used():
            for version in ("2", "3"):
                registry.set_alias("shale", registry.CHAMPION, version)
                await follow(running)
            await asyncio.sleep(0.3)
            # A request is still answered by it.
            assert len(await first.batcher.run(np.zeros((1, 4), np.float32), 1e12)) == 1
            assert value(running, "provider_info", model="shale", version="1", provider="CPUExecutionProvider") == 1
        async with asyncio.timeout(SECONDS):
            while first.folder.exists():
                await asyncio.sleep(0.02)
        assert value(running, "provider_info", model="shale", version="1", provider="CPUExecutionProvider") is None
        response = await running.client.post("/v2/models/shale/versions/1/generate")
        assert response.status_code == 404
        assert "loaded are ['2', '3']" in response.json()["error"]


async def test_no_request_is_lost_while_versions_are_swapped_under_load(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        done = asyncio.Event()
        statuses: list[int] = []
        expected = {version: (tiny_images(5, 3, int(version)) + 1) / 2 for version in ("1", "2")}

        async def ask() -> None:
            while not done.is_set():
                response = await running.client.post("/v2/models/shale/generate", json={"n": 3, "seed": 5})
                statuses.append(response.status_code)
                got = np.frombuffer(response.content[-3 * 256 * 4 :], np.float32).reshape(3, 1, 16, 16)
                np.testing.assert_allclose(got, expected[response.headers["x-rockbank-version"]], atol=1e-6)

        clients = [asyncio.create_task(ask()) for _ in range(4)]
        for version in ("2", "1", "2", "1"):
            registry.set_alias("shale", registry.CHAMPION, version)
            await follow(running)
            await asyncio.sleep(0.02)
        done.set()
        await asyncio.gather(*clients)
        assert set(statuses) == {200}
        assert value(running, "swaps_total", model="shale") == 4


async def test_a_rollback_is_instant_and_the_version_stays_away_until_the_alias_moves(
    shale: Path, serve: Serve
) -> None:
    async with serve() as running:
        registry.set_alias("shale", registry.CHAMPION, "2")
        await follow(running)
        response = await running.client.post("/v2/models/shale/rollback")
        assert response.json() == {"model": "shale", "version": "1"}
        await follow(running)
        assert await version_of(running) == "1"
        assert "rolled back" in (running.service.models.slot("shale").problem or "")
        assert (value(running, "alias_behind_seconds", model="shale") or 0) > 0
        registry.set_alias("shale", registry.CHAMPION, "1")
        await follow(running)
        assert value(running, "alias_behind_seconds", model="shale") == 0
        registry.set_alias("shale", registry.CHAMPION, "2")
        await follow(running)
        assert await version_of(running) == "2"


async def test_a_second_rollback_undoes_the_first(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        assert (await running.client.post("/v2/models/shale/rollback")).status_code == 409
        registry.set_alias("shale", registry.CHAMPION, "2")
        await follow(running)
        await running.client.post("/v2/models/shale/rollback")
        assert (await running.client.post("/v2/models/shale/rollback")).json()["version"] == "2"
        await follow(running)
        assert await version_of(running) == "2"


def reseal(folder: Path) -> None:
    """Have verdict and registry speak of the card as it now is: an attack from within, or a bug of the export."""
    verdict = read_json(folder / VERDICT)
    write_json(folder / VERDICT, verdict | {"card_sha256": sha256(folder / CARD)})
    mlflow.MlflowClient().set_model_version_tag("shale", "2", "card_sha256", sha256(folder / CARD))


def corrupt_onnx(folder: Path) -> None:
    (folder / ONNX).write_bytes(b"no graph")
    card = read_json(folder / CARD)
    card["files"][ONNX] = sha256(folder / ONNX)
    write_json(folder / CARD, card)
    reseal(folder)


def wrong_hash(folder: Path) -> None:
    (folder / ONNX).write_bytes((folder / ONNX).read_bytes() + b"\0")


def ungated(folder: Path) -> None:
    write_json(folder / VERDICT, read_json(folder / VERDICT) | {"passed": False, "reasons": ["kid is too large"]})


def other_golden(folder: Path) -> None:
    write_json(folder / CARD, read_json(folder / CARD) | {"golden": tiny_golden(weights_seed=9)})
    reseal(folder)


def no_golden(folder: Path) -> None:
    write_json(folder / CARD, read_json(folder / CARD) | {"golden": {}})
    reseal(folder)


def other_card(folder: Path) -> None:
    write_json(folder / CARD, read_json(folder / CARD) | {"generator": "forged"})
    verdict = read_json(folder / VERDICT)
    write_json(folder / VERDICT, verdict | {"card_sha256": sha256(folder / CARD)})


def no_card(folder: Path) -> None:
    (folder / CARD).write_text("{}")


def missing_file(folder: Path) -> None:
    (folder / ONNX).unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (corrupt_onnx, "onnx"), (wrong_hash, "hash"), (ungated, "ungated"), (other_golden, "golden"),
        (no_golden, "golden"), (other_card, "hash"), (no_card, "card"), (missing_file, "hash"),
    ],
)  # fmt: skip
async def test_a_version_that_does_not_hold_is_not_served_and_the_old_one_goes_on(
    shale: Path, serve: Serve, damage: Callable[[Path], None], reason: str
) -> None:
    damage(stored("2"))
    async with serve() as running:
        registry.set_alias("shale", registry.CHAMPION, "2")
        await follow(running)
        assert await version_of(running) == "1"
        assert value(running, "load_failures_total", model="shale", reason=reason) == 1
        assert (value(running, "alias_behind_seconds", model="shale") or 0) > 0
        assert "shale/2 is not served" in (running.service.models.slot("shale").problem or "")
        # It is not tried again at every look.
        await follow(running)
        assert value(running, "load_failures_total", model="shale", reason=reason) == 1
        # Nor does it stand in the way of the next one.
        registry.set_alias("shale", registry.CHAMPION, "1")
        await follow(running)
        assert running.service.models.slot("shale").problem is None


async def test_a_full_disk_while_pulling_leaves_the_old_one_and_nothing_half_written(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as running:
        registry.set_alias("shale", registry.CHAMPION, "2")

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(shutil, "copyfile", full)
            await follow(running)
        assert await version_of(running) == "1"
        assert value(running, "load_failures_total", model="shale", reason="disk") == 1
        assert "ROCKBANK_CACHE" in (running.service.models.slot("shale").problem or "")
        assert sorted(path.name for path in (shale / "cache" / "shale").iterdir()) == ["1", "champion.json"]
        # Where there is room again, it is served.
        running.service.follower.poll_now()
        async with asyncio.timeout(SECONDS):
            while await version_of(running) != "2":
                await asyncio.sleep(0.02)


async def test_a_load_that_hangs_is_given_up_and_the_old_one_goes_on(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(load_timeout_seconds=20.0) as running:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        running.service.follower._settings = running.service.settings.model_copy(update={"load_timeout_seconds": 0.1})

        def hang(entry: registry.Entry) -> None:
            asyncio.run_coroutine_threadsafe(ended.wait(), loop).result(SECONDS)

        monkeypatch.setattr(running.service.follower._loader, "load", hang)
        registry.set_alias("shale", registry.CHAMPION, "2")
        await follow(running)
        assert await version_of(running) == "1"
        assert value(running, "load_failures_total", model="shale", reason="timeout") == 1
        ended.set()


async def test_what_nobody_foresaw_does_not_end_the_following(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as running:
        registry.set_alias("shale", registry.CHAMPION, "2")
        with monkeypatch.context() as patched:
            patched.setattr(running.service.follower._loader, "load", lambda entry: 1 / 0)
            await follow(running)
        assert value(running, "load_failures_total", model="shale", reason="unexpected") == 1
        await follow(running)
        assert await version_of(running) == "2"


async def test_a_registry_that_is_down_changes_nothing_for_requests(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(reference: str) -> registry.Entry:
        raise registry.RegistryError("the registry at nowhere does not answer")

    async with serve() as running:
        with monkeypatch.context() as patched:
            patched.setattr(registry, "resolve", down)
            await follow(running)
            assert await version_of(running) == "1"
            assert (await running.client.get("/v2/health/ready")).status_code == 200
            assert "does not answer" in (running.service.models.slot("shale").problem or "")
            assert value(running, "has_champion", model="shale") == 1
        await follow(running)
        assert running.service.models.slot("shale").problem is None


async def test_a_registry_that_hangs_costs_one_thread_and_no_request(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(alias_timeout_seconds=0.05) as running:
        ended = asyncio.Event()
        loop, calls = asyncio.get_running_loop(), []

        def hang(reference: str) -> registry.Entry:
            calls.append(reference)
            asyncio.run_coroutine_threadsafe(ended.wait(), loop).result(SECONDS)
            raise registry.RegistryError("too late")

        monkeypatch.setattr(registry, "resolve", hang)
        for _ in range(3):
            await follow(running)
        assert len(calls) == 1
        assert await version_of(running) == "1"
        ended.set()


async def test_it_starts_from_the_verified_cache_while_the_registry_is_down(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve():
        pass

    def down(reference: str) -> registry.Entry:
        raise registry.RegistryError("the registry at nowhere does not answer")

    monkeypatch.setattr(registry, "resolve", down)
    async with serve() as running:
        assert await version_of(running) == "1"
        assert (await running.client.get("/v2/health/ready")).status_code == 200
    # What lies in the cache is trusted as little as what is pulled.
    graph = shale / "cache" / "shale" / "1" / ONNX
    graph.write_bytes(graph.read_bytes() + b"\0")
    with pytest.raises(NothingToServe, match="does not answer"):
        async with serve():
            pass


async def test_a_champion_that_does_not_hold_at_the_start_leaves_the_one_served_last(shale: Path, serve: Serve) -> None:
    async with serve():
        pass
    wrong_hash(stored("2"))
    registry.set_alias("shale", registry.CHAMPION, "2")
    async with serve() as running:
        assert await version_of(running) == "1"
        assert (value(running, "alias_behind_seconds", model="shale") or 0) > 0


async def test_a_cached_version_that_was_changed_is_pulled_again(shale: Path, serve: Serve) -> None:
    async with serve():
        pass
    graph = shale / "cache" / "shale" / "1" / ONNX
    right = graph.read_bytes()
    graph.write_bytes(right + b"\0")
    async with serve() as running:
        assert await version_of(running) == "1"
        assert graph.read_bytes() == right


async def test_nothing_registered_is_a_clear_end(store: Path, serve: Serve) -> None:
    with pytest.raises(NothingToServe, match=r"shale@champion: .*no versions.*'make run' makes"):
        async with serve():
            pass


async def test_a_model_without_a_champion_is_named_and_the_others_are_served(shale: Path, serve: Serve) -> None:
    async with serve(models="shale,channels") as running:
        assert await version_of(running) == "1"
        response = await running.client.get("/v2/health/ready")
        assert response.status_code == 503
        assert "['channels'] not loaded" in response.json()["error"]
        assert (await running.client.post("/v2/models/channels/generate")).status_code == 503
        assert value(running, "has_champion", model="channels") == 0


async def test_an_alias_that_is_taken_away_is_reported_and_the_version_goes_on(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        mlflow.MlflowClient().delete_registered_model_alias("shale", "champion")
        await follow(running)
        assert await version_of(running) == "1"
        assert value(running, "has_champion", model="shale") == 0


async def test_a_note_in_the_cache_that_is_not_ours_is_left_alone(shale: Path, serve: Serve) -> None:
    folder = shale / "cache" / "shale"
    folder.mkdir(parents=True)
    (folder / "champion.json").write_text(json.dumps({"name": "shale"}))
    registry.set_alias("shale", "other", "1")
    mlflow.MlflowClient().delete_registered_model_alias("shale", "champion")
    with pytest.raises(NothingToServe):
        async with serve():
            pass


async def test_a_registry_that_was_moved_with_its_folder_is_served(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = shale.with_name("my rocks #1 50%25")
    shale.rename(moved)
    monkeypatch.chdir(moved)
    async with serve(tracking_uri=f"sqlite:///{moved}/mlflow.db", cache=moved / "cache") as running:
        assert await version_of(running) == "1"
    assert [each.name for each in moved.parent.iterdir() if "rocks" in each.name] == [moved.name]
