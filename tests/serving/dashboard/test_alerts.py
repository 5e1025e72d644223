"""An alert holds as long as its reason, says what to do, and nothing is an alert where all is well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow

from rockbank.drift.distances import Distances
from rockbank.mlops import registry
from serving.dashboard.alerts import alerts
from serving.dashboard.status import AlertStatus
from serving.service import Service
from serving.watch.statistics import StatisticReport, WindowReport

Serve = Callable[..., Any]
LIMITS = Distances(wasserstein=0.1, ks=0.2)


def window(n_over: int = 0, n_alike: int = 0, ratio: float = 1.0) -> WindowReport:
    porosity = StatisticReport(
        mean=0.2, std=0.1, reference_mean=0.2, distances=LIMITS, limits=LIMITS, windows_over=n_over
    )
    return WindowReport(
        n=32,
        n_nan=0,
        saturated_fraction=0.0,
        statistics={"porosity": porosity},
        diversity_ratio=ratio,
        diversity_least=0.8,
        diversity_windows_under=n_alike,
    )


def alerts_of(service: Service, failing: tuple[int, int] = (0, 100)) -> list[AlertStatus]:
    return alerts(service, failing)


async def test_nothing_is_an_alert_where_all_is_well(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        running.service.watch.reports["shale", "1"] = window(n_over=1)
        assert alerts_of(running.service) == []
        # Nor are a few failures among many requests.
        assert alerts_of(running.service, (1, 1000)) == []


async def test_a_version_that_is_not_served_is_reported_with_its_reason(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        slot = running.service.models.slots["shale"]
        slot.alias_version, slot.behind_since = "2", time.monotonic() - 61
        slot.problem = "shale/2 is not served: sha256 is ab.., the card says cd.."
        (alert,) = alerts_of(running.service)
        assert alert.severity == "warning"
        assert alert.text.startswith("shale@champion has named version 2 for 1 min 1 s: shale/2 is not served: sha256")


async def test_no_champion_is_reported_and_the_last_one_goes_on(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        mlflow.MlflowClient().delete_registered_model_alias("shale", registry.CHAMPION)
        running.service.follower.poll_now()
        end = time.monotonic() + 30
        while not (found := alerts_of(running.service)):
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        assert [alert.title for alert in found] == ["shale: no champion"]
        assert "version 1 goes on until one is promoted" in found[0].text


async def test_a_registry_that_does_not_answer_is_reported_after_some_looks(shale: Path, serve: Serve) -> None:
    async with serve(poll_seconds=10.0) as running:
        slot = running.service.models.slots["shale"]
        slot.alias_read = time.monotonic() - 59
        assert alerts_of(running.service) == []
        slot.alias_read = time.monotonic() - 61
        (alert,) = alerts_of(running.service)
        assert alert.title == "shale: the registry does not answer"
        assert "what is loaded goes on" in alert.text


async def test_a_golden_sample_that_does_not_hold_is_critical(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        metrics = running.service.metrics
        metrics.golden_max_difference.labels("shale", "1").set(0.25)
        metrics.golden_mismatch.labels("shale", "1").set(1)
        (alert,) = alerts_of(running.service)
        assert (alert.severity, alert.title) == ("critical", "shale/1: the golden sample does not hold")
        assert "0.25" in alert.text


async def test_statistics_are_reported_from_the_second_window_on(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        reports = running.service.watch.reports
        reports["shale", "1"] = window(n_over=2)
        (alert,) = alerts_of(running.service)
        assert (alert.severity, alert.text) == ("warning", "porosity (2 windows)")
        reports["shale", "1"] = window(n_over=3, n_alike=2, ratio=0.4)
        alike, over = alerts_of(running.service)
        assert (alike.severity, over.severity) == ("critical", "warning")
        assert "samples differ 0.4 times as much as the rock's, in 2 windows less than 0.8" in alike.text


async def test_samples_that_are_not_finite_are_critical(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        running.service.metrics.nan_samples_total.labels("shale", "1").inc(3)
        (alert,) = alerts_of(running.service)
        assert alert.severity == "critical"
        assert alert.text.startswith("3 of those watched")


async def test_failing_requests_and_the_end_are_reported_first(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        slot = running.service.models.slots["shale"]
        slot.behind_since, slot.alias_version = time.monotonic(), "2"
        running.service.is_draining = True
        found = alerts_of(running.service, (20, 1000))
        assert [alert.title for alert in found] == [
            "the service is stopping",
            "requests fail",
            "shale: the alias is ahead",
        ]
        assert found[1].text.startswith("20 of the last 1000 requests")


async def test_the_page_tells_what_alerts_tell(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        running.service.metrics.nan_samples_total.labels("shale", "1").inc(3)
        status = (await running.client.get("/status.json", params={"parts": True})).json()
        assert [alert["title"] for alert in status["status"]["alerts"]] == ["shale/1: samples that are not finite"]
        assert "samples that are not finite" in status["parts"]["alerts"]
