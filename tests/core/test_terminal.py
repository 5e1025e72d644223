"""Progress of long work, and errors that a user can mend."""

import pytest

from rockbank.core import terminal
from rockbank.core.errors import InputError, UserError
from rockbank.core.terminal import progress, report_user_errors


@pytest.mark.parametrize("parts", [[0.1] * 30, [0.3, 0.9, 2.0]])
def test_what_is_done_in_parts_ends_whole(parts: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("matching", 3) as advance:
        for part in parts:
            advance(part, "best 1")
    assert "matching: 3 of 3" in capsys.readouterr().err


def test_without_a_terminal_a_line_comes_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "LINE_SECONDS", 0.0)
    with progress("training", 4) as advance:
        advance(1, "KID 0.3")
        advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"training: {n} of 4" for n in (1, 2, 2)]
    assert all(line.endswith("KID 0.3") for line in lines)


def test_without_a_terminal_short_work_says_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("training", 100) as advance:
        for _ in range(100):
            advance()
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "error", [UserError("x"), InputError("seed: got -1"), FileNotFoundError("no such file: a.tif")]
)
def test_what_the_user_can_mend_is_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_, report_user_errors():
        raise error
    assert exit_.value.code == 1
    assert capsys.readouterr().err == f"error {error}\n"


@pytest.mark.parametrize(
    "bug", [ValueError("operands could not be broadcast together"), RuntimeError("shape [3] is invalid")]
)
def test_a_bug_keeps_its_traceback(bug: Exception) -> None:
    with pytest.raises(type(bug)) as raised, report_user_errors():
        raise bug
    assert raised.value is bug
