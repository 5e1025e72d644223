"""A command that has to fail, as a person sees it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from rockbank.cli.main import main


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that has to fail as a person sees it: exit status 1, and lines of errors alone after any bar."""

    def run(*arguments: str | Path) -> str:
        monkeypatch.setattr("sys.argv", ["rockbank", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        printed = capfd.readouterr()
        assert printed.out == ""
        lines = printed.err.strip().split("\n")
        errors = [line for line in lines if line.startswith("error ")]
        bars = lines[: len(lines) - len(errors)]
        assert errors
        assert lines == bars + errors
        assert all(re.match(r"(reading|writing) .* of \d+, |.*--:--", bar) for bar in bars), printed.err
        return "\n".join(errors)

    return run
