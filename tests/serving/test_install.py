"""The service as its container has it, with what its extras declare alone: no torch, and it starts and answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.containers import built_from

ROOT = Path(__file__).parents[2]
UNWANTED = ("torch", "torchvision", "great_expectations", "dvc", "sklearn")


def link(found: Distribution, extras: frozenset[str], into: Path, done: set[tuple[str, str]]) -> None:
    """What is installed here of a distribution, and of what it declares to need with these extras, file by file."""
    name = canonicalize_name(found.name)
    if (name, "") not in done:
        done.add((name, ""))
        for file in found.files or ():
            if ".." not in file.parts and not (into / file).exists():
                (into / file).parent.mkdir(parents=True, exist_ok=True)
                (into / file).symlink_to(found.locate_file(file))
    new = {extra for extra in extras if (name, extra) not in done}
    done |= {(name, extra) for extra in new}
    for each in map(Requirement, found.requires or ()):
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in {"", *new}):
            wanted = (canonicalize_name(each.name), frozenset(each.extras))
            if any((wanted[0], extra) not in done for extra in {"", *wanted[1]}):
                link(distribution(wanted[0]), wanted[1], into, done)


@pytest.mark.slow
def test_the_service_runs_where_torch_is_not_installed(shale: Path, tmp_path: Path) -> None:
    site, build = tmp_path / "site", tmp_path / "build"
    build.mkdir()
    sources, extras = built_from(ROOT / "deploy" / "containers" / "service.Containerfile")
    for each in sources:
        copy = shutil.copytree if (ROOT / each).is_dir() else shutil.copyfile
        copy(ROOT / each, build / each)
    alone = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *alone, "--target", site, build], check=True)
    (rockbank,) = distributions(name="rockbank", path=[str(site)])
    link(rockbank, frozenset(extras.split(",")), site, set())
    # Of this environment it has the standard library alone.
    python = [sys.executable, "-S"]
    find = f"from importlib.util import find_spec; print([each for each in {UNWANTED} if find_spec(each)])"
    there = {"PYTHONPATH": str(site), "PATH": os.environ["PATH"]}
    assert subprocess.check_output([*python, "-c", find], text=True, cwd=tmp_path, env=there).strip() == "[]"

    environment = {
        "ROCKBANK_MODELS": "shale",
        "ROCKBANK_PORT": "0",
        "ROCKBANK_CACHE": str(tmp_path / "cache"),
        "ROCKBANK_TRACKING_URI": f"sqlite:///{shale}/mlflow.db",
        **there,
    }
    command = [*python, "-m", "rockbank.cli.main", "serve"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            urls = (re.search(r"serving on (http://\S+)", line) for line in service.stdout)
            url = next(found.group(1) for found in urls if found)
            request = urllib.request.Request(
                f"{url}/v2/models/shale/generate",
                json.dumps({"n": 2, "seed": 7, "format": "json"}).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert json.load(answer)["seed"] == 7
        finally:
            service.terminate()
        assert service.wait(60) == 0
