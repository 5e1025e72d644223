from __future__ import annotations

from pathlib import Path

import pytest

from tools.scan_formats import PAGE, main


@pytest.mark.slow
def test_the_page_is_what_its_command_writes(tmp_path: Path) -> None:
    pytest.importorskip("hdf5plugin")
    assert main(tmp_path / "page.md") == 0
    assert (tmp_path / "page.md").read_text() == PAGE.read_text()
