"""Kinds of decks as people have them: each says in its second line what is expected.

`python -m tools.flow.decks tests/decks` runs those that are read, by OPM Flow too: docs/validation/decks.md.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rockbank.flow.eclipse.deck import read_deck
from rockbank.flow.eclipse.lines import DeckError

DECKS = sorted((Path(__file__).parents[2] / "decks").glob("*.DATA"))
_SAID = re.compile(r"-- rockbank: (?:(read)|refused for (.*?))\r?\n")
# A refusal by the place of a keyword that is not known, or of a record.
_REFUSED = re.compile(r":\d+: (?:keyword )?([A-Z0-9_+-]+)(?::| is not supported)")


@pytest.mark.parametrize("path", DECKS, ids=lambda path: path.stem.lower())
def test_each_kind_is_read_or_refused_in_one_go_for_its_cause(path: Path) -> None:
    said = _SAID.search(path.read_text(encoding="utf-8-sig"))
    assert said is not None
    if said[1]:
        assert read_deck(path).rock.grid.n_cells > 0
        return
    with pytest.raises(DeckError) as refused:
        read_deck(path)
    lines = str(refused.value).splitlines()
    found = [_REFUSED.search(line) for line in lines]
    assert all(found), lines
    assert list(dict.fromkeys(of[1] for of in found if of)) == said[2].split()


def test_there_are_enough_kinds() -> None:
    assert len(DECKS) >= 40
