"""The gate: what a generator must reach, and how it compares with today's champion."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass
from typing import Any

from mlflow import validate_evaluation_results
from mlflow.models import EvaluationResult, MetricThreshold
from mlflow.models.evaluation.validation import ModelValidationFailedException

from rockbank.generator.card import GateScores
from rockbank.params import GateParams

logging.getLogger("mlflow.models.evaluation.validation").setLevel(logging.WARNING)

# metric in the scores -> (its key in params.yaml, section gate; whether more is better)
LIMITS = {
    "fid": ("fid_max", False),
    "kid": ("kid_max", False),
    "s2_distance": ("s2_distance_max", False),
    "diversity": ("diversity_min", True),
    "memorisation": ("memorisation_min", True),
}
REMEDY = "train longer, or change the limit with a reason in the commit"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate says of one generator.

    Attributes:
        passed: whether it may be registered and promoted.
        reasons: every limit that it misses, with value, limit and remedy.
        notes: what was not compared, and why.
        champion: the version that it was compared with, if any.
        card_sha256: of the card that was judged; the verdict holds for no other.
    """

    generator: str
    family: str
    passed: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    metrics: dict[str, float]
    limits: dict[str, float]
    champion: str | None
    card_sha256: str

    def to_json(self) -> dict[str, Any]:
        """As written to verdict.json."""
        return asdict(self)


def judge(
    generator: str,
    family: str,
    candidate: GateScores,
    params: GateParams,
    *,
    card_sha256: str,
    champion: tuple[str, GateScores] | None = None,
) -> Verdict:
    """Weigh `candidate` against the limits and against the champion's scores.

    Args:
        champion: its version and scores; None where the family has none yet.
    """
    reasons = [
        reason
        for metric in LIMITS
        if (reason := _limit_reason(family, metric, candidate.metrics.get(metric, math.nan), params)) is not None
    ]
    notes: list[str] = []
    if champion is not None:
        version, scores = champion
        if differing := candidate.differing(scores):
            notes.append(f"not compared with the champion, version {version}: {differing}")
        elif refusal := beats_champion(family, candidate, champion, params):
            reasons.append(refusal)
    return Verdict(
        generator=generator,
        family=family,
        passed=not reasons,
        reasons=tuple(reasons),
        notes=tuple(notes),
        metrics={metric: candidate.metrics[metric] for metric in LIMITS if metric in candidate.metrics},
        limits=asdict(params),
        champion=champion[0] if champion else None,
        card_sha256=card_sha256,
    )


def beats_champion(
    family: str, candidate: GateScores, champion: tuple[str, GateScores], params: GateParams
) -> str | None:
    """Why the candidate's KID does not beat the champion's; None where it does, or where they cannot be compared."""
    version, scores = champion
    kid, best = candidate.metrics.get("kid", math.nan), scores.metrics["kid"]
    threshold = MetricThreshold(min_relative_change=params.kid_gain_min, greater_is_better=False)
    if candidate.differing(scores) or _holds("kid", kid, threshold, baseline=best):
        return None
    gain = params.kid_gain_min
    needed = f"a relative gain of at least {gain:g}" if gain > 0 else "a lower one"
    return (
        f"kid {kid:.4g} against {best:.4g} of the champion, version {version}; {needed} is required "
        f"(params.yaml: gate.{family}.kid_gain_min); {REMEDY}"
    )


def _limit_reason(family: str, metric: str, value: float, params: GateParams) -> str | None:
    key, greater_is_better = LIMITS[metric]
    limit = float(getattr(params, key))
    if not math.isfinite(value):
        return f"{metric} is {value}: it could not be measured; look at the scores and score again"
    if _holds(metric, value, MetricThreshold(threshold=limit, greater_is_better=greater_is_better)):
        return None
    sign = "<" if greater_is_better else ">"
    return f"{metric} {value:.4g} {sign} {limit:.4g} (params.yaml: gate.{family}.{key}); {REMEDY}"


def _holds(metric: str, value: float, threshold: MetricThreshold, baseline: float | None = None) -> bool:
    candidate = EvaluationResult(metrics={metric: value}, artifacts={})
    against = None if baseline is None else EvaluationResult(metrics={metric: baseline}, artifacts={})
    try:
        validate_evaluation_results({metric: threshold}, candidate, against)
    except ModelValidationFailedException:
        return False
    return True
