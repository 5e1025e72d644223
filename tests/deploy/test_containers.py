"""What deploy/ gives a cluster: manifests of Kubernetes' schema, with settings, probes and metrics that are ours."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from serving.base.monitoring import Metrics
from serving.base.settings import PREFIX, Settings
from serving.http.routes.health import health
from tests.deploy.containers import CONTAINERFILES, built_from
from tests.deploy.queries import DEPLOY

ROOT = DEPLOY.parent
MANIFESTS = [
    each for path in sorted((DEPLOY / "kubernetes").iterdir()) for each in yaml.safe_load_all(path.read_text())
]
OF_KSERVE = "serving.kserve.io/v1beta1"


def pods(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pods that manifests describe."""
    specs = [each["spec"] for each in manifests if each["kind"] in ("Deployment", "InferenceService")]
    return [spec["predictor"] if "predictor" in spec else spec["template"]["spec"] for spec in specs]


PODS = pods(MANIFESTS)


@pytest.mark.parametrize(
    "manifest", [each for each in MANIFESTS if each["apiVersion"] != OF_KSERVE], ids=lambda each: each["kind"]
)
def test_kubernetes_takes_each_manifest(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, "1.37", strict=True)


def test_a_pod_of_kserve_is_one_of_kubernetes() -> None:
    (spec,) = (each["spec"]["predictor"] for each in MANIFESTS if each["apiVersion"] == OF_KSERVE)
    spec = {key: value for key, value in spec.items() if key not in ("minReplicas", "maxReplicas")}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "rockbank"}, "spec": spec}
    kubernetes_validate.validate(pod, "1.37", strict=True)


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_is_configured_by_settings_that_there_are(pod: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = pod["containers"]
    named = {each["name"]: each["value"] for each in container["env"]}
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    settings = Settings()  # type: ignore[call-arg]
    assert {name.removeprefix(PREFIX).lower() for name in named} == settings.model_fields_set
    ports = {each["containerPort"] for each in container["ports"]}
    assert ports == {settings.port, *([settings.grpc_port] if settings.grpc_port else [])}
    stopping = settings.shutdown_delay_seconds + settings.drain_seconds
    assert stopping < pod.get("terminationGracePeriodSeconds", 30)


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_runs_without_rights_and_is_probed_where_the_service_answers(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    paths = {each.path for each in health.routes}  # type: ignore[attr-defined]
    probes = [value for key, value in container.items() if key.endswith("Probe")]
    assert probes
    assert all(probe["httpGet"]["path"] in paths for probe in probes)
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_replicas_grow_by_a_metric_that_the_service_has() -> None:
    (scaler,) = (each["spec"] for each in MANIFESTS if each["kind"] == "HorizontalPodAutoscaler")
    (metric,) = (each["pods"] for each in scaler["metrics"])
    assert f"\n{metric['metric']['name']} " in Metrics().exposition()[0].decode()
    assert int(metric["target"]["averageValue"]) < Settings().max_queue  # type: ignore[call-arg]


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.stem)
def test_a_containerfile_copies_what_there_is_and_runs_without_rights(path: Path) -> None:
    text = path.read_text()
    stages = text.split("\nFROM ")
    assert len(stages) == 3, "a stage that builds, and one that runs"
    sources, extras = built_from(path)
    assert all((ROOT / each).exists() for each in sources)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.split(",")) <= set(known)
    (user,) = re.findall(r"^USER (\d+):", stages[2], re.M)
    assert int(user) > 0
    ignored = path.with_name(f"{path.name}.dockerignore").read_text().splitlines()
    assert {each.removeprefix("!") for each in ignored if each.startswith("!")} == set(sources)
