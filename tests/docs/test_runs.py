"""What the pages show is run as it stands, each page's blocks in their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT, blocks
from tests.docs.worlds import WORLDS

RUNS = [
    (str(page.relative_to(ROOT)), world)
    for page in PAGES
    for world in sorted({block.world for block in blocks(page) if block.world is not None})
]


def test_every_world_that_a_page_names_is_there_and_used() -> None:
    assert {world for _, world in RUNS} == set(WORLDS)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "world"), RUNS)
def test_the_blocks_of_a_page_run_as_they_stand(page: str, world: str, tmp_path: Path, empty_store: Path) -> None:
    with WORLDS[world](tmp_path, empty_store) as place:
        for block in blocks(ROOT / page):
            if block.world == world:
                place.run(block)
