"""What `make release` says of an environment is the same each time."""

import os
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cyclonedx-py") is None, reason="cyclonedx-py is not there: pip install -e '.[dev]'")
def test_the_sbom_has_the_same_bytes_for_the_same_environment(tmp_path: Path) -> None:
    (line,) = [each.strip() for each in (ROOT / "Makefile").read_text().splitlines() if "cyclonedx-py" in each]
    # An environment of pip alone, which takes seconds where that of the project takes a minute.
    venv.create(tmp_path / "env", with_pip=True)
    given = {"dist/rockbank.cdx.json": "{out}", ".venv/bin/python": str(tmp_path / "env" / "bin" / "python")}
    made = []
    for i in range(2):
        out = tmp_path / f"{i}.json"
        command = [given.get(word, word).format(out=out) for word in shlex.split(line)]
        # Sets are ordered by a seed of their own in each process.
        environment = os.environ | {"PYTHONHASHSEED": str(i)}
        subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True, timeout=300)
        made.append(out.read_bytes())
    assert made[0] == made[1]
    assert b'"pip"' in made[0]
    assert f"pkg:pypi/pip@{_version(tmp_path)}".encode() in made[0]


def _version(folder: Path) -> str:
    found = next(
        (folder / "env" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages").glob("pip-*.dist-info")
    )
    return found.name.removeprefix("pip-").removesuffix(".dist-info")
