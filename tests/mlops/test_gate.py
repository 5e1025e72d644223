"""The gate names every limit that is missed, and compares only what can be compared."""

import dataclasses
import math

import pytest

from rockbank.generator.card import GateScores
from rockbank.mlops.gate import judge
from rockbank.params import GateParams

LIMITS = GateParams(
    fid_max=50.0, kid_max=0.2, s2_distance_max=0.02, diversity_min=0.6, memorisation_min=0.5, kid_gain_min=0.0
)
GOOD = {"fid": 40.0, "kid": 0.1, "s2_distance": 0.01, "diversity": 0.9, "memorisation": 0.9}
WITH = {"extractor": "tiny", "samples": 1000, "data": "abc"}


def verdict(metrics: dict[str, float], champion: GateScores | None = None, limits: GateParams = LIMITS):
    return judge(
        "shale-dcgan",
        "shale",
        GateScores(metrics=metrics, measured_with=WITH),
        limits,
        card_sha256="00",
        champion=None if champion is None else ("3", champion),
    )


def test_a_good_generator_passes_without_a_word() -> None:
    said = verdict(GOOD)
    assert said.passed
    assert said.reasons == said.notes == ()


def test_a_value_on_its_limit_passes() -> None:
    assert verdict({"fid": 50.0, "kid": 0.2, "s2_distance": 0.02, "diversity": 0.6, "memorisation": 0.5}).passed


@pytest.mark.parametrize(
    ("metric", "value", "says"),
    [
        ("fid", 51.0, "fid 51 > 50 (params.yaml: gate.shale.fid_max)"),
        ("kid", 0.21, "kid 0.21 > 0.2 (params.yaml: gate.shale.kid_max)"),
        ("s2_distance", 0.03, "s2_distance 0.03 > 0.02"),
        ("diversity", 0.5, "diversity 0.5 < 0.6 (params.yaml: gate.shale.diversity_min)"),
        ("memorisation", 0.4, "memorisation 0.4 < 0.5"),
        ("kid", math.nan, "kid is nan: it could not be measured"),
    ],
)
def test_a_missed_limit_is_named_with_value_limit_and_key(metric: str, value: float, says: str) -> None:
    said = verdict({**GOOD, metric: value})
    assert not said.passed
    (reason,) = said.reasons
    assert reason.startswith(says)


def test_every_missed_limit_is_named() -> None:
    said = verdict({"fid": 99.0, "kid": 9.0, "s2_distance": 9.0, "diversity": 0.0, "memorisation": 0.0})
    assert [reason.split()[0] for reason in said.reasons] == list(GOOD)


def test_a_missing_score_is_refused() -> None:
    said = verdict({key: value for key, value in GOOD.items() if key != "kid"})
    assert said.reasons[0].startswith("kid is nan")


@pytest.mark.parametrize(("best", "passes"), [(0.2, True), (0.1, True), (0.099, False), (-0.01, False)])
def test_a_candidate_is_held_against_the_champion(best: float, passes: bool) -> None:
    said = verdict(GOOD, GateScores(metrics={**GOOD, "kid": best}, measured_with=WITH))
    assert said.passed is passes
    assert passes or "of the champion, version 3" in said.reasons[0]


def test_an_equal_kid_is_enough_where_no_gain_is_required_and_no_gain_of_0_is_asked_for() -> None:
    equal, better = (GateScores(metrics={**GOOD, "kid": kid}, measured_with=WITH) for kid in (0.1, 0.099))
    assert verdict(GOOD, equal).reasons == ()
    (said,) = verdict(GOOD, better).reasons
    assert "kid 0.1 against 0.099 of the champion, version 3; a lower one is required" in said
    assert "gain of at least" not in said
    (said,) = verdict(GOOD, equal, dataclasses.replace(LIMITS, kid_gain_min=0.1)).reasons
    assert "kid 0.1 against 0.1 of the champion, version 3; a relative gain of at least 0.1 is required" in said


def test_a_gain_can_be_required_of_a_candidate() -> None:
    limits = dataclasses.replace(LIMITS, kid_gain_min=0.1)
    champion = GateScores(metrics={**GOOD, "kid": 0.105}, measured_with=WITH)
    assert verdict(GOOD, champion).passed
    assert "a relative gain of at least 0.1 is required" in verdict(GOOD, champion, limits).reasons[0]


@pytest.mark.parametrize("key", list(WITH))
def test_scores_measured_otherwise_are_not_compared_and_it_is_said(key: str) -> None:
    champion = GateScores(metrics={**GOOD, "kid": 0.0}, measured_with={**WITH, key: "other"})
    said = verdict(GOOD, champion)
    assert said.passed
    assert f"{key} is {WITH[key]} here and other there" in said.notes[0]


def test_what_is_known_of_one_alone_keeps_nothing_from_being_compared() -> None:
    champion = GateScores(metrics={**GOOD, "kid": 0.0}, measured_with={**WITH, "scans": "core.tif (0123456789ab)"})
    said = verdict(GOOD, champion)
    assert not said.passed
    assert said.notes == ()
