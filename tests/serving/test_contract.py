"""What the service says of itself in /openapi.json holds, whatever is sent to it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.processes import Process

# No 5xx, no undocumented status, media type or body.
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.slow
def test_nothing_that_schemathesis_sends_is_answered_otherwise_than_documented(
    shale: Path, start_process: Callable[..., Process]
) -> None:
    running = start_process(max_n=64, webhook_secret="secret")
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{running.url}/openapi.json", "--checks", CHECKS]
    options = ["--max-examples", "25", "--seed", "1", "--no-color", "--generation-deterministic", "--warnings", "off"]
    done = subprocess.run(
        [*command, *options],
        cwd=shale,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    # It did test every operation that there is.
    assert "No issues found" in done.stdout
    assert running.process.poll() is None
