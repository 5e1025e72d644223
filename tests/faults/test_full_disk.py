"""On a full disk every command that writes says so in a line, and leaves what was there as it was."""

from pathlib import Path

import pytest

from tests.cli.test_failing_store import OF_IMPORT, shale
from tests.cli.test_simulate import CASE
from tests.faults.child import rockbank, run, tree

COMMANDS = {
    "register": ["register", "shale"],
    "promote": ["promote", "shale", "--version", "1"],
    "import": ["import", "foreign.pth", *OF_IMPORT],
    "sample": ["sample", "shale/1", "--n", "1", "-o", "out.png"],
    "sample to npz": ["sample", "shale/1", "--n", "1", "-o", "out.npz"],
    "data add": ["data", "add", "scan.tif", "--voxel-size", "60e-9"],
    "data show": ["data", "show", "scan.tif", "-o", "out.png"],
    "drift": ["drift", "scan.tif", "--voxel-size", "60e-9", "--model", "shale/1", "-o", "out.html"],
    "simulate": ["simulate", "few.yaml", "-o", "out.nc"],
}


__all__ = ["shale"]


@pytest.fixture
def project(shale: Path) -> Path:
    """That of the failing stores, with a case."""
    (shale / "few.yaml").write_text(CASE)
    return shale


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_full_disk_is_a_message_and_the_old_state_is_whole(project: Path, command: list[str]) -> None:
    before, database = tree(project), (project / "mlflow.db").read_bytes()
    status, said, _ = run(rockbank(*command), room=64)
    assert status == 1, said
    assert "Traceback" not in said
    assert [line for line in said.splitlines() if line.startswith("error ")], said
    assert tree(project) == before
    assert (project / "mlflow.db").read_bytes() == database
