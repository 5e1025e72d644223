"""What the README tells is what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from serving.base.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_of_the_service_stands_in_the_table(name: str) -> None:
    about = (Settings.model_fields[name].description or "").replace("|", "\\|")
    assert re.search(rf"^\| `{PREFIX}{name.upper()}` \| .* \| {re.escape(about)} \|$", README, re.MULTILINE)


def test_every_picture_of_the_readme_is_there() -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures
    assert [path for path in pictures if not (ROOT / path).is_file()] == []
