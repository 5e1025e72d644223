"""The queries of deploy/: those of the alerts, of the dashboard's panels and of its menus."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus/alerts.yml"
DASHBOARD = DEPLOY / "grafana/dashboards/rockbank.json"


def alert_rules() -> list[dict[str, Any]]:
    """Every rule of alerts.yml."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def dashboard_queries() -> list[str]:
    """Every query of a panel or an annotation, Grafana's variables as it fills them in for 'All'."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    found += [each["expr"] for each in dashboard["annotations"]["list"]]
    values = {"$instance": ".*", "$model": ".*", "$__rate_interval": "1m"}
    filled = []
    for query in found:
        for variable, value in values.items():
            query = query.replace(variable, value)
        assert "$" not in query, f"a variable that is not known: {query}"
        filled.append(query)
    return filled


def template_queries() -> list[str]:
    """What the menus are filled from: the metric in label_values(metric, label)."""
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [each["query"]["query"] for each in dashboard["templating"]["list"]]
    return [re.fullmatch(r"label_values\((\w+), \w+\)", each).group(1) for each in queries]  # type: ignore[union-attr]
