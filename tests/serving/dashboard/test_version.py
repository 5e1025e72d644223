"""The page of a version, and its files in one download."""

import hashlib
import io
import json
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rockbank.mlops.registry import FILES
from serving.dataplane.bundle import Signer, SigningKeyError
from serving.keys import make_key
from serving.registry.versions import VersionCache
from tests.serving.conftest import Serve
from tools.browser import CHROMEDRIVER, CHROMIUM, pages

RUN = "0123456789abcdef" * 2
PAGE = "/models/shale/versions/1"


@pytest.fixture(autouse=True)
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's list is read aside, and may be read still when a test has ended."""
    monkeypatch.setattr(VersionCache, "refresh", lambda self: None)


async def test_the_page_of_a_version_has_its_card_its_origin_and_its_files(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        card = running.service.models.find("shale").card
        answer = await running.client.get(PAGE)
        assert (await running.client.get("/models/shale/versions/9")).status_code == 404
        assert (await running.client.get(f"{PAGE}/samples.png")).content == b"picture"
    assert answer.status_code == 200
    for text in (
        "scan a.tif, SHA-256",
        "0" * 64,
        card.data_md5,
        card.files["generator.onnx"],
        "tiny",
        "No full window",
        "s2 distance",
    ):
        assert str(text) in answer.text


async def test_the_page_names_the_commit_and_the_run_that_made_a_version(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        unknown = (await running.client.get(PAGE)).text
        served = running.service.models.find("shale")
        served.entry = replace(served.entry, run_id=RUN)
        served.card = replace(served.card, git_commit="c0ffee" * 6)
        named = (await running.client.get(PAGE)).text
    for what, value in (("code, git commit", "c0ffee" * 6), ("training, MLflow run", RUN)):
        assert f"<dt>{what}</dt><dd><code>{value}</code></dd>" in named
        assert f"<dt>{what}</dt><dd><code>not known</code></dd>" in unknown


async def test_the_bundle_holds_every_file_as_its_card_describes_it(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        first, again = [await running.client.get("/v2/models/shale/versions/1/bundle") for _ in range(2)]
    assert first.content == again.content
    with zipfile.ZipFile(io.BytesIO(first.content)) as archive:
        card = json.loads(archive.read("card.json"))
        digests = {name: hashlib.sha256(archive.read(name)).hexdigest() for name in card["files"]}
        assert digests == card["files"]
        assert json.loads(archive.read("verdict.json"))["passed"]
        assert "SHA256SUMS.sig" not in archive.namelist()


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here; apt install openssl")
async def test_a_signed_bundle_is_verified_by_common_tools_and_a_changed_one_refused(
    shale: Path, serve: Serve, tmp_path: Path
) -> None:
    run(tmp_path, "openssl", "genpkey", "-algorithm", "ed25519", "-out", "key.pem")
    run(tmp_path, "openssl", "pkey", "-in", "key.pem", "-pubout", "-out", "public.pem")
    (tmp_path / "key.pem").chmod(0o600)
    async with serve(signing_key_file=tmp_path / "key.pem") as running:
        content = (await running.client.get("/v2/models/shale/versions/1/bundle")).content
        assert "signed SHA-256" in (await running.client.get(PAGE)).text
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(tmp_path / "got")
    verify = ("openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "../public.pem", "-in", "SHA256SUMS")
    assert "Successfully" in run(tmp_path / "got", *verify, "-sigfile", "SHA256SUMS.sig")
    listed = run(tmp_path / "got", "sha256sum", "--check", "--strict", "SHA256SUMS").splitlines()
    assert {line.removesuffix(": OK") for line in listed} == set(FILES)
    with (tmp_path / "got" / "SHA256SUMS").open("a") as file:
        file.write("\n")
    with pytest.raises(subprocess.CalledProcessError):
        run(tmp_path / "got", *verify, "-sigfile", "SHA256SUMS.sig")


def test_a_signing_key_is_ed25519_and_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(SigningKeyError, match="No such file"):
        Signer(path)
    path.write_text("no key")
    with pytest.raises(SigningKeyError, match="others may read it; chmod 600"):
        Signer(path)
    path.chmod(0o600)
    with pytest.raises(SigningKeyError, match="no PEM of a private key"):
        Signer(path)
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(SigningKeyError, match="not an Ed25519 key; openssl genpkey"):
        Signer(path)


async def test_with_keys_samples_and_bundle_are_theirs(shale: Path, serve: Serve, tmp_path: Path) -> None:
    key, line = make_key("mine")
    (tmp_path / "keys").write_text(f"{line}\n")
    async with serve(keys_file=tmp_path / "keys") as running:
        assert "wants an API key" in (await running.client.get(PAGE)).text
        assert (await running.client.get(f"{PAGE}/samples.png")).status_code == 403
        path = "/v2/models/shale/versions/1/bundle"
        assert (await running.client.get(path)).status_code == 401
        assert (await running.client.get(path, headers={"X-API-Key": key})).status_code == 200


@pytest.mark.slow
@pytest.mark.skipif(
    CHROMIUM is None or CHROMEDRIVER is None,
    reason="no Chromium with its driver here; apt install chromium chromium-driver",
)
@pytest.mark.parametrize("width", [1280, 400])
def test_in_a_browser_it_fits_and_shows_the_history_of_its_windows(
    shale: Path, start_process: Callable[..., Any], width: int
) -> None:
    running = start_process(statistics_fraction=1.0)
    for _ in range(4):
        httpx.post(f"{running.url}/v2/models/shale/generate", json={"n": 32}).raise_for_status()
    with pages(running.url, (width, 900)) as page:
        until = time.monotonic() + 30
        while "history" not in page.open(PAGE.removeprefix("/"), "shale/1") and time.monotonic() < until:
            time.sleep(0.5)
        page.wait("porosity", "Where it comes from")
        assert page.browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
        # The tiny generator's picture is none.
        assert [said for said in page.console() if "samples.png" not in said] == []
