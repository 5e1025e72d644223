"""The service as a queue, simulated with simpy: arrivals, batches, replicas.

A replica is an event loop, which reads requests and writes answers one at a time, and a thread that computes batches,
as serving.inference.batching forms them: a full batch goes at once, another when nothing is computed, and after a batch
of several requests not before `max_wait` after its first one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy

Process = Iterator[Any]
# Which of the replicas takes a request.
Route = Callable[["list[Replica]", np.random.Generator], "Replica"]


@dataclass(frozen=True, kw_only=True)
class Times:
    """Of one replica, in seconds.

    Attributes:
        batch: computation of a batch of so many samples, for each size that is computed.
        overhead: of a request beside its computation, on the event loop.
        jitter: what a time is multiplied by, sampled anew for each.
        max_wait: of a batch for requests on their way.
    """

    batch: Mapping[int, float]
    overhead: float
    jitter: np.ndarray = field(default_factory=lambda: np.ones(1))
    max_wait: float = 0.0


class Replica:
    """One process of the service."""

    def __init__(self, env: simpy.Environment, times: Times, rng: np.random.Generator) -> None:
        self._env, self._times, self._rng = env, times, rng
        self._loop = simpy.Resource(env)
        self._sizes = sorted(times.batch)
        self._waiting: deque[tuple[float, int, simpy.Event]] = deque()
        self._arrival = env.event()
        self.n_inside = 0
        env.process(self._compute())

    def answer(self, n: int) -> Process:
        """A request of n samples, at most a batch of them."""
        self.n_inside += 1
        yield from self._on_loop()
        done = self._env.event()
        self._waiting.append((self._env.now, n, done))
        if not self._arrival.triggered:
            self._arrival.succeed()
        yield done
        yield from self._on_loop()
        self.n_inside -= 1

    def _on_loop(self) -> Process:
        with self._loop.request() as turn:
            yield turn
            yield self._env.timeout(self._times.overhead / 2 * self._jitter())

    def _compute(self) -> Process:
        largest, n_before = self._sizes[-1], 0
        while True:
            while not self._waiting:
                self._arrival = self._env.event()
                yield self._arrival
            if n_before > 1:
                until = self._waiting[0][0] + self._times.max_wait
                while self._n_waiting() < largest and self._env.now < until:
                    self._arrival = self._env.event()
                    yield self._arrival | self._env.timeout(until - self._env.now)
            batch, n = [], 0
            while self._waiting and n + self._waiting[0][1] <= largest:
                _, n_of, done = self._waiting.popleft()
                batch.append(done)
                n += n_of
            size = next(size for size in self._sizes if size >= n)
            yield self._env.timeout(self._times.batch[size] * self._jitter())
            n_before = len(batch)
            for done in batch:
                done.succeed()

    def _n_waiting(self) -> int:
        return sum(n for _, n, _ in self._waiting)

    def _jitter(self) -> float:
        return float(self._rng.choice(self._times.jitter))


def at_random(replicas: list[Replica], rng: np.random.Generator) -> Replica:
    """Any, as a balancer of connections that knows nothing."""
    return replicas[rng.integers(len(replicas))]


def of_two(replicas: list[Replica], rng: np.random.Generator) -> Replica:
    """The one with fewer requests of two at random, as Ray Serve's (Mitzenmacher 2001)."""
    return min((at_random(replicas, rng) for _ in range(2)), key=lambda each: each.n_inside)


def closed(times: Times, *, n: int, connections: int, seconds: float, seed: int) -> np.ndarray:
    """Latencies where each connection sends its next request, of n samples, when the last was answered."""
    env, rng, seen = simpy.Environment(), np.random.default_rng(seed), list[float]()
    replica = Replica(env, times, rng)

    def connection() -> Process:
        while True:
            began = env.now
            yield from replica.answer(n)
            seen.append(env.now - began)

    for _ in range(connections):
        env.process(connection())
    env.run(seconds)
    return np.array(seen)


def opened(
    times: Times, *, n: int, rate: float, seconds: float, seed: int, replicas: int = 1, route: Route = at_random
) -> np.ndarray:
    """Latencies of requests of n samples that come at random, `rate` a second, whatever waits already."""
    env, rng, seen = simpy.Environment(), np.random.default_rng(seed), list[float]()
    all_of_them = [Replica(env, times, rng) for _ in range(replicas)]

    def request() -> Process:
        began = env.now
        yield from route(all_of_them, rng).answer(n)
        seen.append(env.now - began)

    def arrivals() -> Process:
        while True:
            yield env.timeout(rng.exponential(1 / rate))
            env.process(request())

    env.process(arrivals())
    env.run(seconds)
    return np.array(seen)
