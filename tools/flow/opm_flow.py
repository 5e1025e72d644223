"""Runs of OPM Flow, which shares no line with this simulator."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rockbank.flow.eclipse.summary import WellCurves, read_summary

# Each report step at once, and tightly: then both solve the same discrete equations. Its Newton finds its way through a
# stiff step by chance: 45 iterations or more than 100 for beginnings that are 4e-11 bar apart.
MATCHED = (
    "--threads-per-process=1",
    "--full-time-step-initially=true",
    "--newton-max-iterations=400",
    "--linear-solver-max-iter=1000",
    "--linear-solver-reduction=1e-3",
    "--tolerance-cnv=1e-6",
    "--tolerance-mb=1e-9",
    "--tolerance-wells=1e-7",
    "--relaxed-max-pv-fraction=0",
)
CUT = "OPM Flow cut a step"


def find_flow() -> str | None:
    """The command, or None where there is none."""
    command = shutil.which("flow")
    if command is None:
        return None
    said = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
    return command if said.startswith("flow 20") else None


def run_flow(command: str, deck: Path, folder: Path, options: Sequence[str], *, seconds: float = 600) -> WellCurves:
    """The wells' curves of a deck.

    Args:
        command: see find_flow.
        deck: whose SUMMARY asks for the vectors.
        folder: for what it writes.
        options: such as MATCHED.
        seconds: that it may take.

    Raises:
        RuntimeError: it fails, or cuts a step.
    """
    call = [command, str(deck), *options, f"--output-dir={folder}"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout[-3000:])
    if "chopped" in done.stdout:
        raise RuntimeError(CUT)
    return read_summary(folder / f"{deck.stem.upper()}.SMSPEC")
