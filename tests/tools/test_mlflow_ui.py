"""In Chromium, the MLflow UI shows two runs side by side, what one is, and which version is champion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest

from rockbank.mlops import promotion, registry, tracking
from rockbank.params import GateParams
from tools import mlflow_ui as ui
from tools.browser import CHROMEDRIVER, CHROMIUM

LIMITS = GateParams(
    fid_max=50.0, kid_max=0.9, s2_distance_max=0.02, diversity_min=0.6, memorisation_min=0.5, kid_gain_min=0.0
)
# Of each run: the loss, and its validation KID over the steps.
RUNS = {"shale-wgan-gp": ("wgan-gp", [0.9, 0.5, 0.321]), "shale-dcgan": ("dcgan", [0.9, 0.7, 0.654])}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or CHROMEDRIVER is None,
        reason="no Chromium with its driver here; apt install chromium chromium-driver",
    ),
]


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A tracking server that everything is written through, over HTTP."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tracking, "SYSTEM_METRICS_SECONDS", 1)
    with ui.server(tmp_path / "mlflow.db", tmp_path / "artifacts", tmp_path / "server.log") as served:
        mlflow.set_tracking_uri(served)
        yield served
        mlflow.set_tracking_uri(None)


def write_run(name: str, folder: Path) -> str:
    loss, history = RUNS[name]
    rng = np.random.default_rng(0)
    with tracking.start("shale", name, {"loss": loss, "batch": 32}) as run:
        run.describe(f"**{name}**: trained by {loss}")
        for step, kid in enumerate(history, start=1):
            run.log(step, {"kid": kid, "s2_distance": kid / 10})
            run.picture("samples", rng.integers(0, 255, (32, 32), dtype=np.uint8), step)
        run.picture("s2", rng.integers(0, 255, (32, 32), dtype=np.uint8))
        run.score({"kid": history[-1]})
        run.describe_above(f"**KID {history[-1]}**")
    return run.run_id


def test_two_runs_are_compared_one_is_read_and_the_champion_is_seen(
    address: str, tmp_path: Path, generator_folder: Callable[..., Path]
) -> None:
    ids = {name: write_run(name, tmp_path) for name in RUNS}
    registry.push("shale", generator_folder(kid=0.321), ids["shale-wgan-gp"])
    promotion.promote("shale", {"shale": LIMITS}, "1")
    experiment = mlflow.get_experiment_by_name("shale").experiment_id
    assert registry.pull("shale@champion", tmp_path / "pulled")[0].version == "1"

    with ui.pages(address) as pages:
        runs = ",".join(f'"{run_id}"' for run_id in ids.values())
        compared = pages.open(f'compare-runs?runs=[{runs}]&experiments=["{experiment}"]', *RUNS, "final/kid", "s2.png")
        assert "Show diff only" in compared
        for shown in ("loss", "wgan-gp", "dcgan", "kid", "0.321", "0.654"):
            assert shown in compared

        pages.open(f"experiments/{experiment}/runs", *RUNS, "Which is better")

        told = pages.open(f"experiments/{experiment}/runs/{ids['shale-dcgan']}", "KID 0.654", "Parameters")
        assert "shale-dcgan: trained by dcgan" in told

        version = pages.open("models/shale", "@ champion", "Version 1")
        assert "rockbank show shale@champion" in version
        assert "generator\n: tiny" in version
