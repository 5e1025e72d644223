"""Whether a canary may become champion: its errors, its latency and its samples against the champion's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from serving.base.settings import Settings
from serving.inference.outcomes import Outcomes
from serving.watch.statistics import WindowReport

# The latency that is compared.
_Q = 0.95


@dataclass(frozen=True, kw_only=True)
class Decision:
    """About a canary.

    Attributes:
        verdict: "wait" until there is enough to say, then "promote" or "give_up".
        rule: that decided: time, requests, errors, latency or statistics.
        reason: the values, in words.
    """

    verdict: Literal["wait", "promote", "give_up"]
    rule: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What is known of a version while it is compared.

    Attributes:
        outcomes: of its requests.
        report: of its last window of samples; None before the first.
        n_nan: samples of all its windows with a value that is not finite.
    """

    outcomes: Outcomes
    report: WindowReport | None
    n_nan: int = 0


def judge(canary: Observed, champion: Observed, age: float, settings: Settings) -> Decision:
    """What to do with a canary that has answered its part of the requests for `age` seconds.

    A rule that is broken counts as soon as there are enough requests; those that hold count when the time is over.
    """
    ours, theirs = canary.outcomes, champion.outcomes
    if min(ours.n, theirs.n) < settings.canary_requests:
        reason = f"{ours.n} requests, and {theirs.n} of the champion; {settings.canary_requests} of each are wanted"
        return Decision(verdict="wait", rule="requests", reason=reason)
    limit = theirs.error_rate + settings.canary_error_gain
    errors = f"{ours.error_rate:.2%} of its requests fail, {theirs.error_rate:.2%} of the champion's"
    if ours.error_rate > limit:
        return Decision(verdict="give_up", rule="errors", reason=f"{errors}; at most {limit:.2%} may")
    slow, usual = ours.quantile(_Q), theirs.quantile(_Q)
    latency = f"95 % of its requests take {1e3 * slow:.3g} ms, {1e3 * usual:.3g} ms of the champion's"
    if slow > settings.canary_latency_ratio * usual:
        reason = f"{latency}; at most {settings.canary_latency_ratio:g} times as much is allowed"
        return Decision(verdict="give_up", rule="latency", reason=reason)
    if canary.report is None:
        return Decision(verdict="wait", rule="statistics", reason="no window of its samples is full yet")
    if canary.n_nan:
        reason = f"{canary.n_nan} of its samples have a value that is not finite; none may"
        return Decision(verdict="give_up", rule="statistics", reason=reason)
    before = {} if champion.report is None else _over(champion.report)
    over = _over(canary.report)
    if not over:
        reason = (
            "nothing of its samples can be compared; register the generator again ('dvc repro') for a reference.json "
            "with values, or decide by 'rockbank promote'"
        )
        return Decision(verdict="wait", rule="statistics", reason=reason)
    for name, ratio in over.items():
        allowed = max(1.0, before.get(name, 0.0)) * settings.canary_statistics_ratio
        if ratio > allowed:
            reason = (
                f"the {name.replace('_', ' ')} of its samples is {ratio:.3g} times its limit; {allowed:.3g} is allowed"
            )
            return Decision(verdict="give_up", rule="statistics", reason=reason)
    if age < settings.canary_seconds:
        reason = f"all rules hold after {age:.0f} s; it is compared for {settings.canary_seconds:g} s"
        return Decision(verdict="wait", rule="time", reason=reason)
    return Decision(verdict="promote", rule="time", reason=f"{errors}; {latency}; its samples are within their limits")


def _over(report: WindowReport) -> Mapping[str, float]:
    """Each statistic's greater distance over its limit."""
    return {
        name: max(each.distances.wasserstein / each.limits.wasserstein, each.distances.ks / each.limits.ks)
        for name, each in report.statistics.items()
        if each.limits.wasserstein > 0 and each.limits.ks > 0
    }
