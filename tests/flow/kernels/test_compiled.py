"""Compiled loops on disk: dropped when any file of the folder, or of one in it, changes, kept otherwise."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rockbank.flow.kernels import compiled as module
from rockbank.flow.kernels.compiled import compiled

CALLEE = """
from numba import njit
from compiled import compiled

@compiled
def of(x):
    return {factor} * x

@njit(cache=True)
def of_numba(x):
    return {factor} * x
"""
CALLER = """
from numba import njit
from compiled import compiled
from called.callee import of, of_numba

@compiled
def one_more(x):
    return of(x) + 1.0

@njit(cache=True)
def one_more_of_numba(x):
    return of_numba(x) + 1.0

print(one_more(1.0), one_more_of_numba(1.0), sum(one_more.stats.cache_hits.values()))
"""


def called(folder: Path) -> list[float]:
    """What the caller gives in a process of its own: by us, by numba alone, and how often ours came from the disk."""
    # Without bytecode: Python's own would be stale too, for a file of the same size within the same second.
    environment = {key: of for key, of in os.environ.items() if not key.startswith("NUMBA_")}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    run = subprocess.run([sys.executable, "caller.py"], cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [float(word) for word in run.stdout.split()]


@pytest.mark.slow  # three processes that import numba
def test_a_loop_is_compiled_anew_where_one_that_it_calls_has_changed(tmp_path: Path) -> None:
    shutil.copy(module.__file__, tmp_path / "compiled.py")
    (tmp_path / "caller.py").write_text(CALLER)
    callee = tmp_path / "called" / "callee.py"
    callee.parent.mkdir()
    callee.write_text(CALLEE.format(factor=2.0))
    assert called(tmp_path) == [3.0, 3.0, 0]
    assert called(tmp_path) == [3.0, 3.0, 1]
    callee.write_text(CALLEE.format(factor=5.0))
    # Where numba alone gives 6 too, it has mended this itself, and `folder_stamp` can go.
    assert called(tmp_path) == [6.0, 3.0, 0]


def test_nothing_is_kept_by_a_numba_of_other_internals(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_now, kept = module.njit, []

    def other_njit(**options: object):
        kept.append(options.pop("cache", False))
        return compile_now(**options)  # whose cache has no file

    monkeypatch.setattr(module, "njit", other_njit)

    @compiled
    def total(x: np.ndarray) -> float:
        return x.sum()

    assert total(np.ones(3)) == 3.0
    assert kept == [True, False]
