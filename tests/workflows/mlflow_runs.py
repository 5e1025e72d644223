"""The runs that a match has in MLflow."""

from __future__ import annotations

import mlflow


def children(parent: str) -> dict[str, mlflow.entities.Run]:
    """The runs nested in a run, by member."""
    client = mlflow.MlflowClient()
    experiment = client.get_run(parent).info.experiment_id
    found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert len({run.data.tags.get("member") for run in found}) == len(found)
    return {run.data.tags["member"]: run for run in found}
