"""The one door to MLflow runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from jaxtyping import UInt8
from mlflow.entities import DatasetInput, Experiment, InputTag, LifecycleStage, Metric, Param, RunTag

from rockbank.mlops import store
from rockbank.mlops.failures import StoreError

# MLflow's own interval of 10 s gives a two-minute training a dozen points.
SYSTEM_METRICS_SECONDS = 5
# A section of their own in the UI for the scores that may be compared; it also sorts before the steps' metrics.
FINAL = "final/"
# What a store that is down or in the way raises.
Unreachable = (StoreError, mlflow.MlflowException, OSError)
# MLflow refuses more in one request.
_N_METRICS = 1000
# Okabe and Ito (2008): colour-blind readers tell them apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_NOTE = "mlflow.note.content"
_PARENT = "mlflow.parentRunId"
_RULE = "\n\n---\n\n"
_KIND = "mlflow.experimentKind"
_WEIGHTS = "weights_sha256"
_PULLED = "pulled"
# The UI folds away all but the first line.
HOW_TO_COMPARE = f"""**Which is better:** sort by `{FINAL}kid`, the least first. **Why:** tick two runs and *Compare*.

Each run is one generator of {{family}}. *Compare* shows the parameters that differ (*Show diff only*), the scores and,
under *Artifacts*, samples, S2 curves and training side by side. The chart view shows `kid` and `s2_distance` over the
steps, and samples of the same latents as they grow. What passed the gate is in the *Model registry* as {{family}}.
"""


@dataclass(frozen=True)
class Run:
    """A run that is being written to."""

    run_id: str

    def log(self, step: int, metrics: Mapping[str, float]) -> float:
        """Metrics of one training step, in one request; a value that is not finite is left out.

        Returns:
            Their time, seconds since 1970.
        """
        now = _milliseconds(None)
        finite = {key: value for key, value in metrics.items() if np.isfinite(value)}
        store.client().log_batch(
            self.run_id, metrics=[Metric(key, float(value), now, step) for key, value in finite.items()]
        )
        return now / 1000

    def log_series(self, series: Mapping[int, Mapping[str, float]], times: Mapping[int, float] | None = None) -> None:
        """Metrics of many steps, each step whole in one of as few requests as there may be.

        Args:
            series: by step.
            times: of the steps, seconds since 1970; None is now.
        """
        batch: list[Metric] = []
        for step, metrics in series.items():
            at = _milliseconds(None if times is None else times[step])
            of_step = [Metric(key, float(each), at, step) for key, each in metrics.items() if np.isfinite(each)]
            if len(batch) + len(of_step) > _N_METRICS:
                store.client().log_batch(self.run_id, metrics=batch)
                batch = []
            batch += of_step
        store.client().log_batch(self.run_id, metrics=batch)

    def child(self, name: str) -> Run:
        """The run of that name nested in this one, or a new one; it has to be ended."""
        client = store.client()
        experiment = client.get_run(self.run_id).info.experiment_id
        query = f"tags.`{_PARENT}` = '{self.run_id}' and attributes.run_name = '{name}'"
        found = client.search_runs([experiment], query, max_results=1)
        run = found[0] if found else client.create_run(experiment, tags={_PARENT: self.run_id}, run_name=name)
        return Run(run.info.run_id)

    def end(self, *, failed: bool = False) -> None:
        """Close a nested run."""
        store.client().set_terminated(self.run_id, "FAILED" if failed else "FINISHED")

    def last_step(self, metric: str) -> int:
        """The last step at which `metric` was logged; -1 where it never was."""
        return max(self.times(metric), default=-1)

    def times(self, metric: str) -> dict[int, float]:
        """When `metric` was logged at each of its steps, seconds since 1970."""
        history = store.client().get_metric_history(self.run_id, metric)
        return {each.step: each.timestamp / 1000 for each in history}

    def picture(
        self, name: str, pixels: UInt8[np.ndarray, "h w *c"], step: int | None = None, at: float | None = None
    ) -> None:
        """A picture among the run's artifacts, or one of a series over the steps, made `at` a time or now."""
        if step is None:
            store.client().log_image(self.run_id, pixels, artifact_file=f"{name}.png")
        else:
            store.client().log_image(self.run_id, pixels, key=name, step=step, timestamp=_milliseconds(at))

    def score(self, scores: Mapping[str, float]) -> None:
        """The final scores; they have a section of their own in the UI, apart from those of the steps."""
        self.log(0, {f"{FINAL}{name}": value for name, value in scores.items()})

    def file(self, path: Path) -> None:
        """A file among the run's artifacts; the UI compares runs by those that are in no folder."""
        store.client().log_artifact(self.run_id, str(path))

    def json(self, name: str, value: Mapping[str, Any]) -> None:
        """A JSON file among the run's artifacts."""
        store.client().log_dict(self.run_id, dict(value), name)

    def has_weights(self, sha256: str) -> None:
        """Say which weights the run made: `find_by_weights` finds it by them."""
        self.tag({_WEIGHTS: sha256})

    def tags(self) -> dict[str, str]:
        """All of them."""
        return dict(store.client().get_run(self.run_id).data.tags)

    def tag(self, tags: Mapping[str, str | None]) -> None:
        """Tags; those whose value is None are left out."""
        present = [RunTag(key, value) for key, value in tags.items() if value is not None]
        store.client().log_batch(self.run_id, tags=present)

    def describe(self, markdown: str) -> None:
        """The text that the MLflow UI shows at the head of the run."""
        self.tag({_NOTE: markdown})

    def describe_above(self, markdown: str) -> None:
        """What stands above that text, in the place of what stood there; the UI folds the rest away."""
        self.describe(f"{markdown}{_RULE}{self.tags().get(_NOTE, '').rpartition(_RULE)[2]}")

    def _params(self, params: Mapping[str, object]) -> None:
        logged = [Param(key, str(value)) for key, value in params.items()]
        store.client().log_batch(self.run_id, params=logged)

    def data(self, name: str, folder: Path, md5: str | None) -> None:
        """The data set that the run trains on, as an MLflow dataset whose digest is DVC's md5."""
        # Here, so that the registry's readers do with mlflow-skinny.
        from mlflow.data import sources
        from mlflow.data.meta_dataset import MetaDataset

        source = sources.LocalArtifactDatasetSource(str(folder))  # type: ignore[attr-defined]
        data = MetaDataset(source, name=name, digest=md5)  # type: ignore[abstract]
        context = InputTag("mlflow.data.context", "training")
        store.client().log_inputs(self.run_id, datasets=[DatasetInput(data._to_mlflow_entity(), [context])])


@contextmanager
def start(
    experiment: str,
    name: str,
    params: Mapping[str, object],
    *,
    resume: str | None = None,
    note: str = HOW_TO_COMPARE,
) -> Iterator[Run]:
    """Start a run, or go on with the run `resume`, and close it when the block ends.

    It goes to the server in MLFLOW_TRACKING_URI, or to sqlite in the working folder. Under `mlflow run`
    it becomes a child of the run that MLflow made, which every stage would otherwise resume.

    Args:
        experiment: the family of rock, so that its generators can be compared.
        name: the generator.
        params: the run's settings.
        resume: the id of an interrupted run; a new run starts where the store does not have it.
        note: what a new experiment says of itself; `{family}` stands for its name.
    """
    family, parent = _open(experiment, note)
    mlflow.set_system_metrics_sampling_interval(SYSTEM_METRICS_SECONDS)
    run_id = resume if resume is not None and exists(resume) else None
    tags = parent if run_id is not None else {**parent, "mlflow.runColor": _colour(family)}
    with store.answering(writes=True):
        run = Run(mlflow.start_run(run_id=run_id, run_name=name, tags=tags, log_system_metrics=True).info.run_id)
    try:
        if run_id is None:
            run._params(params)
        yield run
    except BaseException:
        # Where the store has failed, this would be its second failure.
        with suppress(StoreError), store.answering(writes=True):
            mlflow.end_run("FAILED")
        raise
    with store.answering(writes=True):
        mlflow.end_run()


@contextmanager
def record_pulled(
    experiment: str, name: str, params: Mapping[str, object], *, began: float, ended: float
) -> Iterator[Run]:
    """Write the run of a training that was somewhere else, whose weights were pulled; a tag says so.

    Args:
        experiment: the family of rock.
        name: the generator.
        params: the training's settings.
        began: seconds since 1970.
        ended: likewise.
    """
    client = store.client()
    family, parent = _open(experiment, HOW_TO_COMPARE)
    tags = {**parent, "mlflow.runColor": _colour(family), _PULLED: "true"}
    made = client.create_run(family.experiment_id, start_time=_milliseconds(began), tags=tags, run_name=name)
    run = Run(made.info.run_id)
    try:
        run._params(params)
        yield run
    except BaseException:
        # Half a record would be found by its weights, and never be completed; a store that has failed fails here too.
        with suppress(StoreError):
            client.delete_run(run.run_id)
        raise
    client.set_terminated(run.run_id, "FINISHED", _milliseconds(ended))


def find_by_weights(experiment: str, sha256: str) -> Run | None:
    """The newest run that made the weights of this SHA-256; None where the store has none."""
    client = store.client()
    family = None if store.is_absent() else client.get_experiment_by_name(experiment)
    if family is None:
        return None
    wanted = f"tags.{_WEIGHTS} = '{sha256}'"
    found = client.search_runs([family.experiment_id], wanted, max_results=1, order_by=["attributes.start_time DESC"])
    return Run(found[0].info.run_id) if found else None


def _open(experiment: str, note: str) -> tuple[Experiment, dict[str, str]]:
    """The experiment, and the tag of the run that `mlflow run` made, which every stage would otherwise resume."""
    parent = os.environ.pop("MLFLOW_RUN_ID", None)
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    os.environ.pop("MLFLOW_EXPERIMENT_NAME", None)
    family = store.experiment(experiment)
    _explain(family, note)
    return family, {} if parent is None else {_PARENT: parent}


def _milliseconds(at: float | None) -> int:
    return round(1000 * (time.time() if at is None else at))


def _explain(experiment: Experiment, note: str) -> None:
    """Have the UI show training runs rather than chats, and say how to compare them; what a person wrote stays."""
    if _NOTE not in experiment.tags:
        kind = "custom_model_development"
        for key, value in ((_KIND, kind), (_NOTE, note.format(family=experiment.name))):
            store.client().set_experiment_tag(experiment.experiment_id, key, value)


def _colour(experiment: Experiment) -> str:
    """The next one of the palette; the UI draws it from the run's id, and two runs may look the same."""
    n_runs = len(store.client().search_runs([experiment.experiment_id], max_results=1000))
    return _COLOURS[n_runs % len(_COLOURS)]


def existing(run_id: str) -> Run | None:
    """The finished run `run_id`, to add scores to; None where the tracking store does not have it."""
    return Run(run_id) if exists(run_id) else None


def exists(run_id: str) -> bool:
    """Whether the tracking store has the run, and not in its trash."""
    if store.is_absent():
        return False
    try:
        return bool(store.client().get_run(run_id).info.lifecycle_stage == LifecycleStage.ACTIVE)
    except mlflow.MlflowException:
        return False
