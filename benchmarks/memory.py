"""How far the memory of this process grows."""

from __future__ import annotations

from pathlib import Path


def begin() -> float:
    """MB that the process has now; its peak so far, such as of compiling, is forgotten."""
    Path("/proc/self/clear_refs").write_text("5")
    return _of("VmRSS")


def peak() -> float:
    """MB that it had at most since."""
    # Not ru_maxrss, which begins with that of the process that started this one.
    return _of("VmHWM")


def _of(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name))
