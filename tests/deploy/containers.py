"""What the Containerfiles of deploy/ are built from."""

from __future__ import annotations

import re
from pathlib import Path

CONTAINERFILES = sorted((Path(__file__).parents[2] / "deploy" / "containers").glob("*.Containerfile"))


def built_from(path: Path) -> tuple[list[str], str]:
    """The files and folders that a Containerfile copies, and the extras that it installs."""
    text = path.read_text()
    sources = [each for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.M) for each in line.split()[:-1]]
    (extras,) = re.findall(r'pip install .* "\.\[([a-z,]+)\]" -c constraints\.txt$', text, re.M)
    return sources, extras
