"""What a command does not need it does not import: MLflow and torch take two seconds each before anything is done."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "mlflow",
    "sqlalchemy",
    "great_expectations",
    "dvc",
    "onnx",
    "torchvision",
    "fastapi",
    "matplotlib",
    "numba",
    "pyamg",
    "xarray",
    "pandas",
    "scipy.stats",
    "scipy.optimize",
)
# In this order, as all are run in one process: each imports what is named, beside what those before it did.
IMPORTS: dict[str, tuple[str, ...]] = {
    "--help": (),
    "simulate --help": (),
    "match --help": (),
    "sample absent@champion --url http://127.0.0.1:1 --output grid.txt": (),
    "data show absent.tif": ("pandas",),
    "simulate --dry-run cases/quarter_five_spot.yaml": ("torch",),
    "observe --dry-run cases/quarter_five_spot.yaml --sigma-bhp 1bar --sigma-rate 9m3/day": (),
    "match status absent": ("xarray",),
    "match report absent": (),
    "drift absent.tif": ("scipy.stats", "scipy.optimize"),
}
SCRIPT = """
import contextlib, io, json, sys
from rockbank.cli.main import app
found = {}
for command in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit, Exception):
        app(command.split())
    found[command] = sorted(set(json.loads(sys.argv[2])) & set(sys.modules))
print(json.dumps(found))
"""


def test_a_command_imports_no_library_that_it_does_not_need() -> None:
    command = [sys.executable, "-c", SCRIPT, json.dumps(list(IMPORTS)), json.dumps(HEAVY)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    known: set[str] = set()
    imported = {}
    for each, found in json.loads(done.stdout).items():
        imported[each], known = set(found) - known, known | set(found)
    assert imported == {each: set(names) for each, names in IMPORTS.items()}
