"""An ensemble that is worth nothing is told from one that is, by closed forms and on problems of known posterior."""

import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest

from rockbank.matching.methods.es_mda import EsMda
from rockbank.matching.results.diagnostics import evidence
from rockbank.matching.results.report import to_html
from rockbank.matching.results.summary import summary, table, warnings_of
from rockbank.matching.results.verdict import (
    RARE,
    SPREAD_LEAST,
    Evidence,
    misfit_most,
    misfit_of_mean,
    spread_of_prior,
    warnings,
)
from tests.matching.quick import rough_pictures
from tests.matching.synthetic import matched

GOOD = Evidence(n_members=100, n_latent=50, n_data=200, spread=0.9, misfit=1.0, is_smoother=False)
N_LATENT, N_DATA, N_INDEPENDENT = 100, 111, 30


def smoothed(n_members: int, seed: int = 0) -> Evidence:
    """What es-mda makes of a linear problem, 30 of whose data are independent and some of them precise."""
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.normal(size=(N_DATA, N_INDEPENDENT)))
    right, _ = np.linalg.qr(rng.normal(size=(N_LATENT, N_INDEPENDENT)))
    matrix = left @ np.diag(np.geomspace(100, 0.3, N_INDEPENDENT)) @ right.T
    sigma = np.ones(N_DATA)
    observed = matrix @ rng.normal(size=N_LATENT) + rng.normal(size=N_DATA)
    z = rng.normal(size=(n_members, N_LATENT))
    for alpha in (4.0, 4.0, 4.0, 4.0):
        z = EsMda().assimilate(z, z @ matrix.T, observed, sigma, rng.normal(size=(n_members, N_DATA)), alpha)
    return Evidence(
        n_members=n_members,
        n_latent=N_LATENT,
        n_data=N_DATA,
        spread=spread_of_prior(z),
        misfit=misfit_of_mean(z @ matrix.T, observed, sigma),
        is_smoother=True,
    )


def test_draws_of_the_prior_have_its_spread() -> None:
    z = np.random.default_rng(0).normal(size=(50, 4000))
    # The variance's standard error is sqrt(2 / (50 * 4000)).
    assert spread_of_prior(z) == pytest.approx(1, abs=5 * np.sqrt(2 / z.size))
    assert spread_of_prior(0.3 * z + 5) == pytest.approx(0.3 * spread_of_prior(z), rel=1e-9)  # type: ignore[operator]
    assert spread_of_prior(z[:1]) is None


@pytest.mark.parametrize("n_members", [5, 100])
def test_the_misfit_of_one_more_draw_is_that_of_students_t(n_members: int) -> None:
    rng, n = np.random.default_rng(1), 200_000
    simulated, sigma = rng.normal(size=(n_members, n)), np.full(n, 1e-9)
    found = misfit_of_mean(simulated, rng.normal(size=n), sigma)
    # t has a variance of nu / (nu - 2); the mean of its square over n, where its tails are heavy, is 2 % off.
    assert found == pytest.approx(np.sqrt((n_members - 1) / (n_members - 3)), rel=0.02)
    assert misfit_of_mean(simulated, simulated.mean(axis=0), sigma) == 0
    assert misfit_of_mean(simulated[:1], simulated[0], sigma) is None


def test_the_bound_of_the_misfit_is_passed_as_rarely_as_it_says() -> None:
    rng, n = np.random.default_rng(2), 200_000
    for n_members in (3, 10):
        simulated = rng.normal(size=(n_members, n))
        t = (rng.normal(size=n) - simulated.mean(axis=0)) / np.sqrt((1 + 1 / n_members) * simulated.var(axis=0, ddof=1))
        n_rare = int((np.abs(t) > misfit_most(n_members)).sum())
        assert n_rare == pytest.approx(RARE * n, abs=5 * np.sqrt(RARE * n))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, []),
        ({"spread": None, "misfit": None, "n_members": 1}, []),
        ({"spread": SPREAD_LEAST}, []),
        ({"spread": 0.002}, ["the members have collapsed: their spread is 0.002 of the prior's, below 0.1"]),
        ({"misfit": 3.0}, []),
        ({"misfit": 12.0}, ["the members miss the data: their mean is 12 times as far off as"]),
        ({"misfit": 12.0, "n_members": 3}, []),  # two degrees of freedom
        ({"n_members": 4}, []),  # each by itself
        ({"n_members": 10, "is_smoother": True}, ["too few members: 10 move in 9 of the 50 directions that 200 data"]),
        ({"n_members": 11, "is_smoother": True}, []),
        ({"n_members": 4, "is_smoother": True, "n_data": 5}, []),
        ({"spread": 0.002, "is_smoother": True}, ["collapsed.*; ask for 50 members or more"]),
        ({"spread": 0.0, "misfit": 99.0, "n_members": 4, "is_smoother": True}, ["collapsed", "miss", "too few"]),
    ],
)
def test_each_bound_warns_of_its_own(changed: dict[str, object], words: list[str]) -> None:
    found = warnings(replace(GOOD, **changed))  # type: ignore[arg-type]
    assert len(found) == len(words)
    for line, expected in zip(found, words, strict=True):
        assert re.search(expected, line)
        assert "\n" not in line


def test_a_smoother_of_few_members_is_warned_of_and_one_of_many_is_not() -> None:
    few, many = smoothed(4), smoothed(200)
    assert few.spread is not None
    assert few.spread < SPREAD_LEAST
    assert {each.partition(":")[0] for each in warnings(few)} == {
        "the members have collapsed", "the members miss the data", "too few members",
    }  # fmt: skip
    assert warnings(many) == ()


def test_of_no_member_that_has_ended_nothing_is_said() -> None:
    begun = Evidence(n_members=0, n_latent=0, n_data=0, spread=0.5, misfit=None, is_smoother=True)
    assert warnings(begun) == ()


def test_report_and_table_warn_of_members_that_collapsed() -> None:
    dataset = matched(n_members=6)
    assert warnings_of(dataset) == ()
    with rough_pictures():
        assert "Warning" not in to_html(dataset)
    assert table(dataset)["warning"].eq("").all()
    posterior = {"ensemble": "posterior"}
    dataset["z"].loc[posterior] = dataset.z.sel(posterior).mean("member") + 0.002 * dataset.z.sel(posterior)
    with rough_pictures():
        page = unescape(to_html(dataset))
    assert "Warning: the members have collapsed: their spread is 0.0018 of the prior's" in page
    assert table(dataset)["warning"].str.startswith("the members have collapsed").all()
    assert table(dataset)["spread"].iloc[0] == summary(dataset)["ensembles"]["posterior"]["spread"]
    assert summary(dataset)["warnings"] == list(warnings_of(dataset))


def test_members_that_run_or_failed_and_data_that_were_not_matched_are_no_evidence() -> None:
    dataset = matched(n_members=8, failed=(2,))
    dataset["status"][3] = "running"
    assert evidence(dataset, "posterior").n_members == 6
    assert evidence(dataset, "posterior").misfit is not None
    dataset.attrs["settings"] = '{"flow": false, "wells": true}'
    found = evidence(dataset, "posterior")
    assert found.misfit is None
    assert found.n_data == dataset.sizes["facies_cell"]


def test_draws_of_the_prior_are_not_warned_of() -> None:
    dataset = matched(n_members=6, ensembles=("prior",), n_iterations=0)
    dataset["z"] *= 0.0
    assert warnings_of(dataset) == ()
