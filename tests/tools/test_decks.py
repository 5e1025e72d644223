"""The page of decks, made of a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools.flow import decks

OWN = Path(__file__).parents[1] / "decks"


def test_the_page_has_a_row_for_each_deck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(OWN / "include", tmp_path / "include")
    for name in ("FAULTED", "CARTER_TRACY"):
        shutil.copy(OWN / f"{name}.DATA", tmp_path)
    page = tmp_path / "decks.md"
    monkeypatch.setattr("sys.argv", ["decks", str(tmp_path), "--output", str(page)])
    monkeypatch.setattr(decks, "find_flow", lambda: None)
    decks.main()
    text = page.read_text()
    assert "Of 2 decks, 1 are read and 1 are refused" in " ".join(text.split())
    assert "| CARTER_TRACY |  |  | no | AQUTAB, AQUCT, AQUANCON: analytical aquifers are not computed |  |  |" in text
    assert "| FAULTED | SPECGRID, COORD, ZCORN | 72 | yes |  |  |  |" in text
