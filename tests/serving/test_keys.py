"""Keys are kept as hashes, compared whole, and each has a rate of its own."""

import hashlib
import hmac
import os
from pathlib import Path

import pytest

from serving.base.clients import Client
from serving.base.errors import BadKey, RateLimited
from serving.base.settings import SettingsError
from serving.keys import OPEN, Key, Keys, make_key, read_keys
from tests.serving.conftest import Serve

PATH = "/v2/models/shale/generate"


def fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.txt"
    path.write_text(f"# of the tests\nann:{fingerprint('a')}\nbob:{fingerprint('b')}:admin:2  # two a minute\n\n")
    return path


def test_lines_are_read(file: Path) -> None:
    assert read_keys(file) == (
        Key(name="ann", fingerprint=fingerprint("a")),
        Key(name="bob", fingerprint=fingerprint("b"), role="admin", rate=2.0),
    )


def test_limits_of_a_line_are_those_of_its_client(file: Path) -> None:
    file.write_text(f"ann:{fingerprint('a')}::30:weight=2.5:samples=100:concurrent=3\nbob:{fingerprint('b')}:admin\n")
    keys = Keys(file, None)
    ann, bob = (keys.client(keys.check(each), "192.0.2.7") for each in "ab")
    assert ann == Client(name="key ann", weight=2.5, per_minute=30, samples_per_minute=100, concurrent=3)
    assert bob == Client(name="key bob")


@pytest.mark.parametrize("limit", ["weight=0", "weight=-1", "weight=nan", "weight=inf", "weight=", "weight", "width=2"])
def test_a_limit_that_is_none_is_refused(file: Path, limit: str) -> None:
    file.write_text(f"ann:{fingerprint('a')}::{limit}\n")
    with pytest.raises(SettingsError, match="line 1: "):
        read_keys(file)


async def test_samples_are_counted_for_jobs_as_for_requests(shale: Path, serve: Serve, tmp_path: Path) -> None:
    key, line = make_key("narrow")
    (tmp_path / "keys").write_text(f"{line}::samples=100\n")
    async with serve(keys_file=tmp_path / "keys") as running:
        headers, path = {"X-API-Key": key}, "/v2/models/shale/jobs"
        assert (await running.client.post(path, json={"n": 90}, headers=headers)).status_code == 202
        answer = await running.client.post(path, json={"n": 90}, headers=headers)
        assert answer.status_code == 429
        assert "has used up its 100 samples a minute" in answer.text
        assert int(answer.headers["retry-after"]) > 1
        assert (await running.client.post(PATH, json={"n": 50}, headers=headers)).status_code == 429


@pytest.mark.parametrize(
    "line",
    ["ann", "ann:secret", f"ann:{fingerprint('a')}:king", f"ann:{fingerprint('a')}:user:-1",
     f"ann:{fingerprint('a')}:user:many", f"ann:{fingerprint('a')}:user:1:more", f"an n:{fingerprint('a')}",
     f"ann:{fingerprint('a').upper()}", f"ann:{fingerprint('a')}:user:inf"],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_named_and_not_shown(file: Path, line: str) -> None:
    file.write_text(f"\n{line}\n")
    with pytest.raises(SettingsError, match=r"line 2: ") as caught:
        read_keys(file)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there_or_empty_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ROCKBANK_KEYS_FILE"):
        read_keys(tmp_path / "none")
    (tmp_path / "empty").write_text("# nobody\n")
    with pytest.raises(SettingsError, match=r"python -m serving\.keys NAME"):
        read_keys(tmp_path / "empty")


def test_a_key_is_its_owners_and_any_other_nobodys(file: Path) -> None:
    keys = Keys(file, None)
    assert keys.check("a").name == "ann"
    assert keys.check("b").role == "admin"
    for given in (None, "", "c", fingerprint("a"), "\udcff"):
        with pytest.raises(BadKey):
            keys.check(given)


def test_every_key_is_compared_in_constant_time(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    right = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: compared.append(one) or right(one, other))
    keys = Keys(file, None)
    for given in ("a", "b"):
        keys.check(given)
    assert compared == [fingerprint("a"), fingerprint("b")] * 2


def test_without_a_file_everybody_may() -> None:
    assert Keys(None, None).check(None) == OPEN


def test_a_rate_is_a_buckets_that_fills_with_time(file: Path) -> None:
    keys = Keys(file, 60.0)
    bob, ann = keys.check("b"), keys.check("a")
    keys.begin(keys.client(bob, "x"), now=0.0)
    keys.begin(keys.client(bob, "x"), now=0.0)
    with pytest.raises(RateLimited, match="key bob has used up its 2 requests a minute") as caught:
        keys.begin(keys.client(bob, "x"), now=0.0)
    assert caught.value.headers["Retry-After"] == "30"
    # Another's is untouched, and the setting's where the line has none.
    for _ in range(60):
        keys.begin(keys.client(ann, "x"), now=0.0)
    with pytest.raises(RateLimited):
        keys.begin(keys.client(ann, "x"), now=0.0)
    keys.begin(keys.client(bob, "x"), now=30.1)
    with pytest.raises(RateLimited):
        keys.begin(keys.client(bob, "x"), now=30.2)


def test_an_open_service_counts_addresses() -> None:
    keys = Keys(None, 1.0)
    keys.begin(keys.client(OPEN, "10.0.0.1"), now=0.0)
    keys.begin(keys.client(OPEN, "10.0.0.2"), now=0.0)
    with pytest.raises(RateLimited, match=r"address 10\.0\.0\.1"):
        keys.begin(keys.client(OPEN, "10.0.0.1"), now=1.0)


def test_a_changed_file_is_read_again_and_a_broken_one_is_not(file: Path) -> None:
    keys = Keys(file, None)
    assert not keys.reload()
    file.write_text(f"eve:{fingerprint('e')}\n")
    assert keys.reload()
    with pytest.raises(BadKey):
        keys.check("a")
    file.write_text("broken\n")
    with pytest.raises(SettingsError):
        keys.reload()
    assert keys.check("e").name == "eve"


def test_a_repaired_file_is_read_whatever_its_time_says(file: Path) -> None:
    keys = Keys(file, None)
    file.write_text("broken\n")
    with pytest.raises(SettingsError):
        keys.reload()
    broken = file.stat().st_mtime_ns
    file.write_text(f"eve:{fingerprint('e')}\n")
    os.utime(file, ns=(broken, broken))
    assert keys.reload()
    with pytest.raises(BadKey):
        keys.check("a")


def test_a_made_key_is_admitted_by_its_line(tmp_path: Path) -> None:
    key, line = make_key("ann", "admin")
    assert key not in line
    (tmp_path / "keys.txt").write_text(line)
    assert Keys(tmp_path / "keys.txt", None).check(key).role == "admin"
    with pytest.raises(SettingsError):
        make_key("a b")


async def test_probes_and_metrics_need_no_key_and_the_rest_does(shale: Path, serve: Serve, file: Path) -> None:
    async with serve(keys_file=file) as running:
        for path in ("/v2/health/live", "/v2/health/ready", "/metrics"):
            assert (await running.client.get(path)).status_code == 200
        for path in ("/v2", "/v2/models", "/v2/models/shale", "/v2/models/shale/ready"):
            assert (await running.client.get(path)).status_code == 401
        for headers in ({"Authorization": "Bearer a"}, {"authorization": "bearer a"}, {"X-API-Key": "a"}):
            assert (await running.client.post(PATH, headers=headers)).status_code == 200
        response = await running.client.post(PATH)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"


async def test_a_key_over_its_rate_gets_429_and_the_others_go_on(shale: Path, serve: Serve, file: Path) -> None:
    async with serve(keys_file=file) as running:
        statuses = [(await running.client.post(PATH, headers={"X-API-Key": "b"})).status_code for _ in range(4)]
        assert statuses == [200, 200, 429, 429]
        response = await running.client.post(PATH, headers={"X-API-Key": "b"})
        assert 1 <= int(response.headers["retry-after"]) <= 30
        assert (await running.client.post(PATH, headers={"X-API-Key": "a"})).status_code == 200
        counted = running.service.metrics.registry.get_sample_value(
            "rockbank_rejections_total", {"reason": "rate_limit"}
        )
        assert counted == 3


async def test_a_key_is_nowhere_in_the_log(
    shale: Path, serve: Serve, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serve(keys_file=file, log_level="DEBUG") as running:
        await running.client.post(PATH, headers={"X-API-Key": "not-anybodys-key"})
        await running.client.post(PATH, headers={"X-API-Key": "a"})
    log = capfd.readouterr().err
    assert "not-anybodys-key" not in log
    assert '"key": "ann"' in log
