"""The simulated queue has the waiting times of those that are known in closed form."""

from __future__ import annotations

import pytest

from benchmarks.queueing import Times, closed, of_two, opened

SERVICE = 0.01


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_without_batches_it_is_the_queue_of_constant_service(load: float) -> None:
    times = Times(batch={1: SERVICE}, overhead=0.0)
    latencies = opened(times, n=1, rate=load / SERVICE, seconds=100.0, seed=0)
    # M/D/1: the mean wait is load / (2 (1 - load)) services (Pollaczek and Khinchine).
    expected = SERVICE * (1 + load / (2 * (1 - load)))
    # Of 3,000 and 7,000 requests, whose waits are correlated over some ten services.
    assert latencies.mean() == pytest.approx(expected, rel=0.1)


def test_closed_connections_share_what_one_thread_computes() -> None:
    latencies = closed(Times(batch={4: SERVICE}, overhead=0.0), n=4, connections=3, seconds=10.0, seed=0)
    assert len(latencies) == pytest.approx(10.0 / SERVICE, rel=0.01)
    # After the first round each waits for the two before it.
    assert latencies[3:].max() == pytest.approx(3 * SERVICE)


def test_requests_that_wait_together_are_computed_together() -> None:
    latencies = closed(Times(batch={1: SERVICE, 8: SERVICE}, overhead=0.0), n=1, connections=8, seconds=10.0, seed=0)
    # While some are computed the others come back and wait: half of them each time, in the mean.
    assert len(latencies) == pytest.approx(4 * 10.0 / SERVICE, rel=0.01)


def test_the_shorter_of_two_queues_is_shorter() -> None:
    times, asked = Times(batch={1: SERVICE}, overhead=0.0), {"n": 1, "rate": 900.0, "seconds": 20.0, "seed": 0}
    blind = opened(times, replicas=10, **asked)
    chosen = opened(times, replicas=10, route=of_two, **asked)
    assert chosen.mean() < 0.6 * blind.mean()
