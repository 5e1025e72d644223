"""A real Prometheus with the rules of deploy/ scrapes the real service: every query of alerts and dashboard answers."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.deploy.queries import DEPLOY, alert_rules, dashboard_queries, template_queries

WAIT_SECONDS = 90
WINDOW = 32
# What has to be there after a few requests; the rest is empty while all is well.
EXPOSED = (
    'up{job="rockbank"}',
    'sum(rate(rockbank_requests_total{route=~"/v2/models/.+", status="200"}[1m])) > 0',
    "histogram_quantile(0.99, sum by (le) (rate(rockbank_request_seconds_bucket[1m]))) > 0",
    "histogram_quantile(0.99, sum by (le) (rate(rockbank_compute_seconds_bucket[1m]))) > 0",
    'rockbank_samples_total{model="shale", version="1", route="current"} > 0',
    'rockbank_model_info{model="shale", version="1"} == 1',
    'rockbank_provider_info{model="shale", version="1", provider="CPUExecutionProvider"} == 1',
    'rockbank_has_champion{model="shale"} == 1',
    'rockbank_alias_age_seconds{model="shale"} >= 0',
    'rockbank_alias_behind_seconds{model="shale"} == 0',
    'rockbank_golden_mismatch{model="shale", version="1"} == 0',
    'rockbank_statistic_ks{model="shale", version="1", statistic="porosity"} >= 0',
    'rockbank_statistic_wasserstein{model="shale", version="1", statistic="s2_4"} >= 0',
    'rockbank_statistic_windows_over{model="shale", version="1", statistic="diversity"} == 0',
    'rockbank_diversity_ratio{model="shale", version="1"} > 0',
    'rockbank_nan_samples_total{model="shale", version="1"} == 0',
    'rockbank_rejections_total{reason="bad_request"} > 0',
    'process_resident_memory_bytes{job="rockbank"} > 0',
)


class Prometheus:
    """The HTTP interface of a Prometheus."""

    def __init__(self, url: str) -> None:
        """At `url`."""
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that it answers with; an error of the query fails."""
        answer = self._client.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer)
        return list(answer["data"]["result"])

    def rules(self) -> list[dict[str, Any]]:
        """The alerts that it has loaded, with their health and state."""
        groups = self._client.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@pytest.fixture
def scrape(tmp_path: Path) -> Iterator[Callable[[str], Prometheus]]:
    """Starts a Prometheus with the configuration of deploy/, but every second and of the service at an address."""
    started: list[tuple[subprocess.Popen[bytes], Prometheus]] = []

    def start(address: str) -> Prometheus:
        config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"] = [{"targets": [address]}]
        config["rule_files"] = [str(DEPLOY / "prometheus" / name) for name in config["rule_files"]]
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            own = f"127.0.0.1:{free.getsockname()[1]}"
        arguments = ["--config.file=prometheus.yml", f"--web.listen-address={own}", "--storage.tsdb.path=tsdb"]
        with (tmp_path / "prometheus.log").open("wb") as log:
            process = subprocess.Popen(["prometheus", *arguments], cwd=tmp_path, stdout=log, stderr=log)
        prometheus = Prometheus(f"http://{own}")
        started.append((process, prometheus))
        wait_until(prometheus.is_ready, lambda: (tmp_path / "prometheus.log").read_text()[-2000:])
        return prometheus

    yield start
    for process, prometheus in started:
        prometheus.close()
        process.terminate()
        process.wait(WAIT_SECONDS)


def wait_until(holds: Callable[[], bool], describe: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < end, describe()
        time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not there: apt install prometheus")
def test_every_query_of_alerts_and_dashboard_answers_from_the_real_service(
    shale: Path, start_process: Callable[..., Any], scrape: Callable[[str], Prometheus]
) -> None:
    service = start_process(statistics_fraction=1, statistics_window=WINDOW)
    prometheus = scrape(service.address)

    def generate() -> None:
        for n in (1, 4, WINDOW):
            assert httpx.post(f"{service.url}/v2/models/shale/generate", json={"n": n}).status_code == 200
        assert httpx.post(f"{service.url}/v2/models/shale/generate", json={"n": -1}).status_code == 400

    def missing() -> list[str]:
        return [expression for expression in EXPOSED if not prometheus.query(expression)]

    def all_exposed() -> bool:
        # A rate needs a scrape before the requests that it counts.
        generate()
        return not missing()

    wait_until(lambda: bool(prometheus.query('up{job="rockbank"} == 1')), lambda: "no scrape of the service")
    wait_until(all_exposed, missing)
    for expression in [rule["expr"] for rule in alert_rules()] + dashboard_queries():
        prometheus.query(expression)
    for expression in template_queries():
        assert prometheus.query(expression), expression
    # Rules are evaluated in their own time.
    wait_until(lambda: all(rule["health"] == "ok" for rule in prometheus.rules()), prometheus.rules)
    states = {rule["name"]: rule["state"] for rule in prometheus.rules()}
    assert states == {rule["alert"]: "inactive" for rule in alert_rules()}

    service.process.kill()
    service.process.wait(WAIT_SECONDS)
    wait_until(
        lambda: {rule["name"]: rule["state"] for rule in prometheus.rules()}["RockbankDown"] == "pending",
        prometheus.rules,
    )
