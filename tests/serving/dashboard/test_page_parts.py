"""What the status page is made of: its charts, its rates and latencies, and HTML in which nothing foreign is markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fastapi.routing import APIRoute
from hypothesis import given, settings
from hypothesis import strategies as st

from rockbank.generator.card import HEADLINE, ModelCard
from serving.base.monitoring import Metrics
from serving.dashboard.charts import correlation_chart, sparkline
from serving.dashboard.render import SECURITY_HEADERS, Page, number, span
from serving.dashboard.status import (
    AlertStatus,
    CorrelationStatus,
    LoadedStatus,
    ModelStatus,
    StatisticStatus,
    Status,
    SwapStatus,
    VersionStatus,
)
from serving.dashboard.traffic import Traffic, quantile, read
from serving.http.routes import samples, tiles

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
# S2 halves from lag to lag.
LAGS = (0, 1, 2, 4, 8)
CORRELATION = CorrelationStatus(
    lags=LAGS,
    mean=[0.8, 0.4, 0.2, 0.1, 0.05],
    std=[0.08, 0.04, 0.02, 0.01, 0.1],
    served={1: (0.4, 0.01), 4: (0.1, 0.3)},
    voxel_size=60e-9,
)


@pytest.fixture
def card(generator_folder: Callable[..., Path]) -> ModelCard:
    return ModelCard.load(generator_folder())


def version_status(card: ModelCard, version: str, *roles: str) -> VersionStatus:
    loaded = LoadedStatus(
        card=card,
        provider="CPUExecutionProvider",
        batches=(8, 16),
        n_samples=3,
        golden=1e-6,
        golden_holds=True,
        tile_side=None,
    )
    return VersionStatus(
        version=version,
        roles=roles,
        aliases=("champion",) if "current" in roles else (),
        created=NOW,
        generator=card.generator,
        scores=dict.fromkeys(HEADLINE, 0.5),
        run_id=card.git_commit,
        data_md5=card.data_md5,
        gate="passed",
        loaded=loaded if roles else None,
    )


def page_status(*versions: VersionStatus, name: str = "shale", text: str = "why") -> Status:
    model = ModelStatus(
        name=name,
        alias="champion",
        problem=None,
        versions=versions,
        n_more=0,
        correlation=CORRELATION,
        statistics=[
            StatisticStatus(name=text, served=0.1, rock=0.1, wasserstein=(0.1, 0.2), ks=(0.3, 0.2), n_over=2),
        ],
        n_window=256,
    )
    return Status(
        now=NOW,
        started=NOW - timedelta(hours=1),
        is_ready=True,
        wants_key=False,
        max_n=100,
        alerts=[AlertStatus(severity="critical", title=text, text=text)],
        traffic=Traffic(Metrics()).measures(),
        routes=[(text, 1, 0.1, None)],
        rejections={"queue_full": 1},
        models=[model],
        swaps=[SwapStatus(at=NOW, model=name, before="1", after="2", why=text)],
    )


def numbers(text: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", text)]


def test_nothing_foreign_is_markup(card: ModelCard) -> None:
    hostile = replace(card, generator=HOSTILE, git_commit=HOSTILE, data_md5=HOSTILE, network=HOSTILE)
    status = page_status(version_status(hostile, HOSTILE, "current"), name=HOSTILE, text=HOSTILE)
    page = Page()
    for html in (page.render(status), *page.parts(status).values()):
        assert "<script>" not in html
        assert "<img src" not in html
        assert "onerror" not in re.sub(r"&lt;.*?&gt;", "", html)
    assert "&lt;script&gt;" in page.render(status)


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere(card: ModelCard) -> None:
    html = Page().render(page_status(version_status(card, "1", "current")))
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|https?://|javascript:", html) == []
    assert re.findall(r'(?:src|href)="(//|/)', html) == []
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_a_part_is_what_the_page_has_in_its_place(card: ModelCard) -> None:
    versions = (version_status(card, "2", "current"), version_status(card, "1", "previous"), version_status(card, "3"))
    status = page_status(*versions)
    page = Page()
    html, parts = page.render(status), page.parts(status)
    places = re.findall(r'data-part="([^"]+)"', html)
    assert sorted(places) == sorted(parts)
    for part in parts.values():
        assert part in html
    assert 'data-version="2"' in parts["about-1"]
    assert "ready for a rollback" in parts["versions-1"]
    assert "registered" in parts["versions-1"]


def test_a_model_without_a_version_says_what_to_do() -> None:
    html = Page().render(page_status())
    assert "No version is served" in html
    assert "rockbank promote shale" in html


def test_the_chart_is_the_correlation() -> None:
    chart = ElementTree.fromstring(correlation_chart(CORRELATION, "S2 <of> shale"))
    assert chart.findtext("title") == "S2 <of> shale"
    (line,) = [each for each in chart.iter("polyline") if each.get("class") == "rock"]
    curve = numbers(line.get("points", ""))
    # Lags 1, 2, 4, 8 are evenly spaced on a logarithmic axis; lag 0 has no place on it.
    assert len(curve) == 4
    steps = [b[0] - a[0] for a, b in pairwise(curve)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.2)
    # y is linear in S2: the three differences are as 0.2 to 0.1 to 0.05, to a tenth of a pixel of rounding.
    drops = [b[1] - a[1] for a, b in pairwise(curve)]
    assert drops[0] == pytest.approx(2 * drops[1], abs=0.3)
    assert drops[1] == pytest.approx(2 * drops[2], abs=0.3)
    # A served sample set that has the rock's S2 lies on the curve.
    circles = [(float(each.get("cx", "")), float(each.get("cy", ""))) for each in chart.iter("circle")]
    assert circles == [pytest.approx(curve[0], abs=0.11), pytest.approx(curve[2], abs=0.11)]


def test_the_chart_keeps_within_itself() -> None:
    chart = ElementTree.fromstring(correlation_chart(CORRELATION, "S2"))
    width, height = map(float, chart.get("viewBox", "").split()[2:])
    points = [point for each in chart.iter() for point in numbers(each.get("points", ""))]
    points += [(float(each.get("x1", "")), float(each.get(y, ""))) for each in chart.iter("line") for y in ("y1", "y2")]
    assert len(points) > 20
    assert all(0 <= x <= width and 0 <= y <= height for x, y in points)


def test_an_empty_correlation_draws_nothing() -> None:
    assert correlation_chart(replace(CORRELATION, lags=[0], mean=[0.5], std=[0.1], served={}), "S2") == ""


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 1e9)), max_size=70))
def test_a_sparkline_is_well_formed_and_within_itself(history: list[float | None]) -> None:
    picture = ElementTree.fromstring(sparkline(history))
    width, height = map(float, picture.get("viewBox", "").split()[2:])
    points = [point for each in picture.iter("polyline") for point in numbers(each.get("points", ""))]
    assert all(0 <= x <= width + 0.1 and 0 <= y <= height for x, y in points)


def test_quantiles_are_those_of_an_even_histogram() -> None:
    # 100 requests, even between 0 and 1 s: the quantile q is q.
    even = tuple((bound / 10, 10.0 * bound) for bound in range(1, 11))
    for q in (0.05, 0.5, 0.99):
        assert quantile((*even, (float("inf"), 100.0)), q) == pytest.approx(q, rel=1e-12)
    assert quantile((), 0.5) is None
    assert quantile(((1.0, 0.0), (float("inf"), 0.0)), 0.5) is None
    # Beyond the last finite bound nothing more is known than that bound.
    assert quantile(((1.0, 1.0), (2.0, 1.0), (float("inf"), 10.0)), 0.99) == 2.0


def test_rates_are_differences_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("serving.dashboard.traffic.time.monotonic", lambda: clock[0])
    metrics = Metrics()
    traffic = Traffic(metrics)
    for _ in range(4):
        clock[0] += 5.0
        metrics.requests_total.labels("/v2/models/{name}/generate", "POST", "200").inc(10)
        metrics.requests_total.labels("/status.json", "GET", "200").inc(1000)
        metrics.samples_total.labels("shale", "1", "current").inc(80)
        metrics.rejections_total.labels("queue_full").inc(2)
        metrics.request_seconds.labels("/v2/models/{name}/generate").observe(0.02)
        traffic.tick()
    measured = {measure.name: measure.value for measure in traffic.measures()}
    assert measured["Requests"] == pytest.approx(2.0)
    assert measured["Samples"] == pytest.approx(16.0)
    assert measured["Not served"] == pytest.approx(24.0)
    # 20 ms falls into the bucket of 10 to 25 ms.
    assert measured["Median latency"] == pytest.approx(17.5, abs=7.5)
    assert traffic.rejections() == {"queue_full": 8}
    ((route, count, *_),) = traffic.routes()
    assert (route, count) == ("/v2/models/{name}/generate", 4)


def test_whatever_samples_is_counted_where_it_fails() -> None:
    metrics = Metrics()
    traffic = Traffic(metrics)
    sampling = [route.path for route in (*samples.router.routes, *tiles.router.routes) if isinstance(route, APIRoute)]
    for route in sampling:
        metrics.answered(route, "GET", 500, 0.1)
    metrics.answered("/status.json", "GET", 500, 0.1)
    assert len(sampling) == 3
    assert traffic.failing() == (3, 3)


def test_what_was_long_ago_is_not_now(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("serving.dashboard.traffic.time.monotonic", lambda: clock[0])
    metrics = Metrics()
    traffic = Traffic(metrics)
    metrics.samples_total.labels("shale", "1", "current").inc(80)
    for _ in range(20):
        clock[0] += 5.0
        traffic.tick()
    samples = next(measure for measure in traffic.measures() if measure.name == "Samples")
    assert samples.value == 0.0
    assert max(value for value in samples.history if value is not None) > 0
    assert read(metrics).samples == 80


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.0031, "0.0031"),
        (2e-4, "0.0002"),
        (-0.5, "-0.5"),
        (3.14e-6, "3.1e-6"),
        (41.26, "41.3"),
        (18234, "18 234"),
        (999.6, "1 000"),
    ],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert number(value) == text.replace(" ", "\N{NARROW NO-BREAK SPACE}")


@settings(max_examples=50, deadline=None)
@given(st.floats())
def test_every_number_is_a_short_text(value: float) -> None:
    assert 1 <= len(number(value)) <= 9 or abs(value) >= 1e6


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59, "59 s"), (192, "3 min 12 s"), (11520, "3 h 12 min"), (90000, "1 d 1 h")]
)
def test_time_spans_have_two_units(seconds: int, text: str) -> None:
    assert span(timedelta(seconds=seconds)) == text
