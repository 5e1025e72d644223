"""What the pages show is run as it stands, each page's blocks in their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, runs
from tests.docs.worlds import CLONE, WORLDS


def test_every_world_that_a_page_names_is_there_and_used() -> None:
    assert {world for _, world in runs()} == {CLONE, *WORLDS}


@pytest.mark.slow
@pytest.mark.parametrize(("page", "world"), [run for run in runs() if run[1] != CLONE])
def test_the_blocks_of_a_page_run_as_they_stand(page: str, world: str, tmp_path: Path, empty_store: Path) -> None:
    with WORLDS[world](tmp_path, empty_store) as place:
        place.run_all(ROOT / page, world)
