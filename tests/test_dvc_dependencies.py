"""A stage of dvc.yaml depends on every module that it runs, but for those named here with their reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

ROOT = Path(__file__).parents[1]
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

# No output hangs on these, in any stage.
EVERYWHERE = {
    "rockbank.params": "reads params.yaml, whose values DVC tracks itself",
    "rockbank.core.config": "likewise",
    "rockbank.core.errors": "ends a stage without an output",
    "rockbank.core.files": "writes whole what it is given",
    "rockbank.core.provenance": "reads the commit and DVC's md5, which differ without any change of it",
    "rockbank.core.paths": "names paths, as dvc.yaml does",
    "rockbank.core.terminal": "shows progress",
    "rockbank.mlops.tracking": "what MLflow records is no output",
}
SCORED = {"rockbank.stages.training_run": "adds scores to the MLflow run"}
# A training takes hours: what does not make weights, and is only the record of how they came, is left out.
TRAINED = {
    "rockbank.generator.card": "names the file of the weights",
    "rockbank.plot.colormaps": "of pictures",
    "rockbank.plot.curves": "draws the record: other colours redraw no training",
    "rockbank.plot.figures": "likewise",
    "rockbank.plot.grids": "likewise",
    "rockbank.stages.training_about": "is the record",
    "rockbank.stages.training_run": "names the files of the record",
}
JUDGED = {"rockbank.rock.segmentation": "is the type of one of the card's fields, which is not judged"}
LEFT_OUT = {
    "train": TRAINED,
    "score": {**SCORED, "rockbank.stages.training_about": "is read for the MLflow run"},
    "challenge": SCORED,
    "gate": JUDGED,
    "register": {
        **JUDGED,
        "rockbank.stages.blueprint": "is read",
    },
}
# It reads the scores and writes a table: the rest of the module that it shares with `score` is not run.
TABLE2 = {"rockbank.metrics.table2", "rockbank.stages.score"}


def stage(name: str) -> dict[str, Any]:
    return STAGES[name].get("do", STAGES[name])


def modules(name: str) -> list[str]:
    """The modules of pipelines/ that the stage runs."""
    cmd = stage(name)["cmd"]
    return [line.split()[2] for line in ([cmd] if isinstance(cmd, str) else cmd)]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("rockbank", "pipelines", exclude_type_checking_imports=True, cache_dir=None)


def run_by(name: str, graph: grimp.ImportGraph) -> set[str]:
    """Every module of ours that the stage imports, directly or not."""
    run = set(modules(name)).union(*(graph.find_upstream_modules(each) for each in modules(name)))
    return run & {*TABLE2, *modules(name)} if name == "table2" else run


def is_covered(module: str, deps: list[str]) -> bool:
    path = Path(module.replace(".", "/") + ".py")
    path = path if module.startswith("pipelines.") else "src" / path
    assert (ROOT / path).is_file(), f"{path}: the closure of imports names a module that is no file"
    return any(str(each) in deps for each in (path, *path.parents))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_every_module_that_it_runs(name: str, graph: grimp.ImportGraph) -> None:
    left_out = {*EVERYWHERE, *LEFT_OUT.get(name, {})}
    missing = [each for each in sorted(run_by(name, graph) - left_out) if not is_covered(each, stage(name)["deps"])]
    assert missing == [], f"dvc.yaml: '{name}' runs these and does not depend on them"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_no_module_that_it_does_not_run(name: str, graph: grimp.ImportGraph) -> None:
    run = {
        ("" if each.startswith("pipelines") else "src/") + each.replace(".", "/") + ".py"
        for each in run_by(name, graph)
    }
    code = [each for each in stage(name)["deps"] if each.startswith(("src/", "pipelines/"))]
    assert [each for each in code if not any(path == each or path.startswith(f"{each}/") for path in run)] == []


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_is_run_and_would_be_missing(name: str, graph: grimp.ImportGraph) -> None:
    assert set(LEFT_OUT[name]) <= run_by(name, graph)
    assert not any(is_covered(each, stage(name)["deps"]) for each in LEFT_OUT[name])
