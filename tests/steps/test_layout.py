"""What a progress bar says."""

import pytest

from rockbank.steps.layout import progress


@pytest.mark.parametrize("parts", [[0.1] * 30, [0.3, 0.9, 2.0]])
def test_what_is_done_in_parts_ends_whole(parts: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("matching", 3) as advance:
        for part in parts:
            advance(part, "best 1")
    assert "3/3" in capsys.readouterr().err
