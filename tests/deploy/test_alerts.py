"""What deploy/ holds: rules that Prometheus accepts, each alert tried, queries of exposed metrics alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.base.monitoring import Metrics
from tests.deploy.queries import ALERTS, DASHBOARD, DEPLOY, alert_rules, dashboard_queries, template_queries

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not there: apt install prometheus")


def check(*arguments: str) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
@pytest.mark.parametrize("arguments", [("config", "prometheus.yml"), ("rules", "alerts.yml")], ids=" ".join)
def test_promtool_accepts(arguments: tuple[str, str]) -> None:
    check("check", *arguments)


@promtool
def test_every_alert_fires_where_it_has_to_and_not_elsewhere() -> None:
    check("test", "rules", "alerts_test.yml")


def test_every_alert_is_tried_both_ways() -> None:
    firing, silent = set(), set()
    for case in yaml.safe_load((DEPLOY / "prometheus/alerts_test.yml").read_text())["tests"]:
        for each in case["promql_expr_test"]:
            (name,) = re.findall(r'alertname="(\w+)"', each["expr"])
            (firing if each["exp_samples"] else silent).add(name)
    assert firing == silent == {rule["alert"] for rule in alert_rules()}


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: rule["alert"])
def test_every_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert "$labels" in rule["annotations"]["summary"]
    assert rule["annotations"]["runbook"].endswith(".")


def exposed() -> set[str]:
    """Every name that the service's metrics have in Prometheus."""
    names = set()
    for family in Metrics().registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {family.name + suffix for suffix in suffixes}
    return names


@pytest.mark.parametrize("query", [rule["expr"] for rule in alert_rules()] + dashboard_queries() + template_queries())
def test_every_query_asks_for_what_the_service_tells(query: str) -> None:
    named = set(re.findall(r"\b(?:rockbank|process)_\w+", query))
    assert named <= exposed()
    assert named or re.search(r"\b(up|ALERTS)\b", query)


def test_every_metric_of_the_service_is_shown_or_watched() -> None:
    everything = " ".join([rule["expr"] for rule in alert_rules()] + dashboard_queries())
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed() if name.startswith("rockbank_")}
    assert {name for name in ours if name not in everything} == set()


def test_the_dashboard_asks_the_source_that_is_provisioned() -> None:
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    parts = [*panels, *(target for panel in panels for target in panel["targets"]), *dashboard["templating"]["list"]]
    assert {(each["datasource"]["type"], each["datasource"]["uid"]) for each in parts} == {
        ("prometheus", source["uid"])
    }


def test_the_provider_of_dashboards_is_one_of_files() -> None:
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/rockbank.yml").read_text())["providers"]
    assert provider["type"] == "file"
    assert Path(provider["options"]["path"]).is_absolute()


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken.get((x, y)))
                taken[x, y] = panel["title"]


def test_the_rules_are_those_that_the_configuration_loads() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    assert config["rule_files"] == [ALERTS.name]
    (job,) = config["scrape_configs"]
    assert (job["job_name"], job["metrics_path"]) == ("rockbank", "/metrics")
