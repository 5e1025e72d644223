"""What an operator should know of now; deploy/prometheus has the same, with longer delays."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from serving.dashboard.render import number, span
from serving.dashboard.status import AlertStatus
from serving.dashboard.traffic import exposed
from serving.inference.models import Served, Slot
from serving.watch.statistics import DIVERSITY, WindowReport

if TYPE_CHECKING:
    from serving.service import Service

CRITICAL, WARNING = "critical", "warning"
# A window over its limit may be chance; the second is not.
N_WINDOWS = 2
# Reads of the alias that may fail before an alert.
_N_FAILED_READS = 6
# Of the requests of the last minutes.
_FAILING = 0.01


def alerts(service: Service, failing: tuple[int, int]) -> list[AlertStatus]:
    """Every alert that holds, the critical ones first.

    Args:
        failing: requests of the last minutes that failed by the service's own fault, and all of them.
    """
    found = [*_of_service(service, failing)]
    for slot in service.models.slots.values():
        found += _of_alias(slot, service.settings.poll_seconds)
        found += _of_versions(service, slot)
    return sorted(found, key=lambda alert: alert.severity != CRITICAL)


def _of_service(service: Service, failing: tuple[int, int]) -> Iterator[AlertStatus]:
    if service.is_draining:
        yield _alert(CRITICAL, "the service is stopping", "what it is answering is finished, nothing new is taken")
    n_failed, n_all = failing
    if n_failed > _FAILING * n_all:
        text = f"{n_failed} of the last {n_all} requests; the log has each under its request id"
        yield _alert(CRITICAL, "requests fail", text)


def _of_alias(slot: Slot, poll_seconds: float) -> Iterator[AlertStatus]:
    problem = slot.problem or "no reason is known"
    if slot.current is None:
        yield _alert(CRITICAL, f"{slot.name}: nothing is served", problem)
    elif slot.alias_read is not None and slot.alias_version is None:
        text = f"{slot.reference} names no version; version {slot.current.version} goes on until one is promoted"
        yield _alert(WARNING, f"{slot.name}: no champion", text)
    elif slot.behind_since is not None:
        text = f"{slot.reference} has named version {slot.alias_version} for {_since(slot.behind_since)}: {problem}"
        yield _alert(WARNING, f"{slot.name}: the alias is ahead", text)
    if slot.current is not None and (slot.alias_read is None or _age(slot.alias_read) > _N_FAILED_READS * poll_seconds):
        since = "since the start" if slot.alias_read is None else f"for {_since(slot.alias_read)}"
        text = f"{slot.reference} could not be read {since}; what is loaded goes on: {problem}"
        yield _alert(WARNING, f"{slot.name}: the registry does not answer", text)


def _of_versions(service: Service, slot: Slot) -> Iterator[AlertStatus]:
    metrics = service.metrics
    if any(each.value for each in exposed(metrics.expected_provider_mismatch) if each.labels["model"] == slot.name):
        text = "a GPU is there, and the session does not run on it; look at the driver and the CUDA libraries"
        yield _alert(WARNING, f"{slot.name}: on the CPU", text)
    for served in {id(each): each for each in slot.loaded().values()}.values():
        yield from _of_version(service, served)


def _of_version(service: Service, served: Served) -> Iterator[AlertStatus]:
    name, metrics = f"{served.name}/{served.version}", service.metrics
    golden = _value(exposed(metrics.golden_max_difference), served)
    if _value(exposed(metrics.golden_mismatch), served):
        tolerance = number(served.generator.golden_tolerance)
        text = f"it differs by {number(golden)}, more than {tolerance}; this machine no longer computes "
        text += "what was exported: take it out"
        yield _alert(CRITICAL, f"{name}: the golden sample does not hold", text)
    n_nan = _value(exposed(metrics.nan_samples_total, "_total"), served)
    if n_nan:
        yield _alert(CRITICAL, f"{name}: samples that are not finite", f"{number(n_nan)} of those watched; roll back")
    report = service.watch.reports.get((served.name, served.version))
    if report is not None:
        yield from _of_report(name, report)


def _of_report(name: str, report: WindowReport) -> Iterator[AlertStatus]:
    over = {each: n for each, n in report.windows_over().items() if n >= N_WINDOWS}
    n_collapsed = over.pop(DIVERSITY, 0)
    if n_collapsed and report.diversity_ratio is not None:
        text = (
            f"samples differ {number(report.diversity_ratio)} times as much as the rock's, in {n_collapsed} windows "
            f"less than {number(report.diversity_least)}; roll back"
        )
        yield _alert(CRITICAL, f"{name}: the samples have become alike", text)
    if over:
        text = ", ".join(f"{each.replace('_', ' ')} ({n} windows)" for each, n in over.items())
        yield _alert(WARNING, f"{name}: the samples are no longer what was accepted", text)


def _alert(severity: str, title: str, text: str) -> AlertStatus:
    return AlertStatus(severity=severity, title=title, text=text)


def _value(samples: Sequence[object], served: Served) -> float:
    for each in samples:
        labels = getattr(each, "labels", {})
        if labels.get("model") == served.name and labels.get("version") == served.version:
            return float(getattr(each, "value", 0.0))
    return 0.0


def _age(moment: float) -> float:
    return time.monotonic() - moment


def _since(moment: float) -> str:
    return span(timedelta(seconds=_age(moment)))
