"""The service as its container has it, in a virtual environment of its own: no torch, and it starts and answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.deploy.containers import built_from

ROOT = Path(__file__).parents[2]
UNWANTED = ("torch", "torchvision", "great_expectations", "dvc", "sklearn")
# What pip says where it cannot reach an index.
_OFFLINE = ("Connection", "Could not find a version", "Temporary failure", "timed out")


@pytest.mark.slow
def test_the_service_runs_where_torch_is_not_installed(shale: Path, tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    sources, extras = built_from(ROOT / "deploy" / "containers" / "service.Containerfile")
    for each in sources:
        copy = shutil.copytree if (ROOT / each).is_dir() else shutil.copyfile
        copy(ROOT / each, tmp_path / "build" / each)
    wanted = f"{tmp_path / 'build'}[{extras}]"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted]
    done = subprocess.run(
        [*install, "-c", tmp_path / "build" / "constraints.txt"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    if done.returncode and any(word in done.stderr for word in _OFFLINE):
        pytest.skip(f"no index of packages can be reached: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    find = f"from importlib.util import find_spec; print([each for each in {UNWANTED} if find_spec(each)])"
    assert subprocess.check_output([python, "-c", find], text=True, cwd=tmp_path).strip() == "[]"

    environment = {
        "ROCKBANK_MODELS": "shale",
        "ROCKBANK_PORT": "0",
        "ROCKBANK_CACHE": str(tmp_path / "cache"),
        "ROCKBANK_TRACKING_URI": f"sqlite:///{shale}/mlflow.db",
        "PATH": os.environ["PATH"],
    }
    command = [tmp_path / "venv" / "bin" / "rockbank", "serve"]
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
