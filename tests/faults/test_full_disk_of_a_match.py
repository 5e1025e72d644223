"""On a full disk a match says so in a line, keeps what is whole, and with room goes on to the end of any other."""

import shutil
from pathlib import Path

import pytest

from rockbank.matching.run import GENERATOR
from tests.faults.child import rockbank, run, tree
from tests.faults.small_disk import PAGE, absent, full_but_for, on_disk_of_its_own
from tests.faults.test_kills import MATCH, _matched
from tests.matching.tiny import register, write_case
from tests.workflows.conftest import quick

# Beyond the pages that a run takes to begin.
MORE_PAGES = (2, 8, 20, 50, 120)
RUN = Path("matches/one")
__all__ = ["quick"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick")]


def _require_message(status: int, said: str) -> None:
    assert status == 1, said
    assert "Traceback" not in said, said
    assert [line for line in said.splitlines() if line.startswith("error ") and "free some room" in line], said


def _fill(folder: Path) -> None:
    # In processes of their own: sqlite refuses to write a store that was put in the place of one it has open.
    status, said, _ = run(lambda: (register(folder / "generator"), write_case(folder)))
    assert status == 0, said
    shutil.copytree(folder, "../before")

    def put_back() -> None:
        for each in folder.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        shutil.copytree("../before", folder, dirs_exist_ok=True)

    status, said, _ = run(rockbank(*MATCH))
    assert status == 0, said
    status, whole, _ = run(lambda: print(_matched(folder)))
    assert status == 0, whole
    begins = sum(-(-each.stat().st_size // PAGE) for each in (RUN / GENERATOR).iterdir())
    put_back()
    before, n_began = tree(folder), 0
    for n_pages in (0, begins // 2, *(begins + more for more in MORE_PAGES)):
        with full_but_for(folder, n_pages * PAGE):
            status, said, _ = run(rockbank(*MATCH))
        if status == 0:
            break
        _require_message(status, said)
        if not RUN.exists():
            assert tree(folder) == before
            continue
        n_began += 1
        with full_but_for(folder, 0):
            for command in ("resume", "report"):
                now = tree(folder)
                status, said, _ = run(rockbank("match", command, str(RUN)))
                _require_message(status, said)
                assert tree(folder) == now
        status, said, _ = run(rockbank("match", "resume", str(RUN)))
        assert status == 0, said
        status, ended, _ = run(lambda: print(_matched(folder)))
        assert status == 0, ended
        assert ended.splitlines()[-1] == whole.splitlines()[-1], f"{n_pages} pages"
        with full_but_for(folder, 0):
            now = tree(folder)
            status, said, _ = run(rockbank("match", "report", str(RUN)))
            _require_message(status, said)
            assert tree(folder) == now
        put_back()
    assert n_began > 0


def test_a_match_on_a_full_disk_is_a_message_and_goes_on_to_the_same_bits_when_there_is_room(store: Path) -> None:
    if (reason := absent(store)) is not None:
        pytest.skip(reason)
    status, said, _ = on_disk_of_its_own(store, 128 * 2**20, lambda: _fill(store))
    assert status == 0, said
