"""Whose turn it is: in proportion to the weights, and a lone request before those who have many waiting."""

from collections import Counter

import pytest

from serving.base.clients import Client
from serving.inference.turns import Turns

GREEDY, LONE = Client(name="greedy"), Client(name="lone")


def test_a_lone_request_is_next_after_what_is_being_served() -> None:
    turns = Turns()
    waiting = [turns.finish(GREEDY, 16) for _ in range(24)]
    turns.serve(waiting[0])
    assert turns.finish(LONE, 1) < waiting[1]


def test_requests_of_one_client_keep_their_order() -> None:
    turns = Turns()
    places = [turns.finish(GREEDY, n) for n in (16, 1, 4)]
    assert places == sorted(places)


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_while_both_want_more_samples_are_given_by_weight(weight: float) -> None:
    turns, heavy = Turns(), Client(name="heavy", weight=weight)
    waiting = sorted((turns.finish(client, 4), client.name) for client in (heavy, LONE) for _ in range(400))
    served = Counter(name for _, name in waiting[:400])
    # To one request, the grain of it.
    assert served["heavy"] == pytest.approx(400 * weight / (1 + weight), abs=1)


def test_who_was_away_has_saved_nothing() -> None:
    turns = Turns()
    for _ in range(10):
        turns.serve(turns.finish(GREEDY, 16))
    assert turns.finish(LONE, 16) == turns.finish(GREEDY, 16)
