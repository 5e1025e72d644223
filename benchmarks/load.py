"""A client that keeps the service busy: python -m benchmarks.load URL BODY --connections 4 --seconds 10

In a process of its own, so that it does not share an interpreter with what it measures. Each connection sends the next
request when the last was answered whole, or with --rate at random times. Prints what it saw as JSON.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Seen:
    """What the connections saw together.

    Attributes:
        statuses: how often each; "error" where there was no whole answer.
        versions: how often each version answered.
        seconds: of each request that was answered with 200.
        errors: the first few, in words.
        n_bytes: of the answers' bodies.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    n_bytes: int = 0


def main() -> None:
    """Send, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument(
        "body", help="JSON, or - for standard input; a SEED in it becomes a number of its own in each request"
    )
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--requests", type=int, default=0, help="of each connection, at most; 0 for any number")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between an answer and the next request")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="requests a second, at random, of all connections; 0 as above"
    )
    options = parser.parse_args()
    if options.body == "-":
        options.body = sys.stdin.read()
    seen, lock, until = Seen(), threading.Lock(), time.monotonic() + options.seconds
    start = time.monotonic()
    threads = [threading.Thread(target=send, args=(options, i, until, seen, lock)) for i in range(options.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({**vars(seen), "wall": time.monotonic() - start}))


def send(options: argparse.Namespace, i: int, until: float, seen: Seen, lock: threading.Lock) -> None:
    """One connection's requests, one after the other."""
    where, n = urlsplit(options.url), 0
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
    arrivals, due = random.Random(i), time.perf_counter()
    while time.monotonic() < until and (not options.requests or n < options.requests):
        n += 1
        sent = options.body.replace("SEED", str(1_000_000 * i + n))
        time.sleep(options.pause)
        began = time.perf_counter()
        if options.rate:
            # Late where the connection was busy: the request waits since it was due.
            due += arrivals.expovariate(options.rate / options.connections)
            if due - time.perf_counter() > until - time.monotonic():
                break
            time.sleep(max(0.0, due - began))
            began = due
        try:
            connection.request("POST", where.path, sent, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            n_bytes = len(answer.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            with lock:
                seen.statuses["error"] += 1
                seen.errors[5:] = []
                seen.errors.append(f"{type(error).__name__}: {error}")
            continue
        took = time.perf_counter() - began
        with lock:
            seen.statuses[str(answer.status)] += 1
            seen.versions[answer.headers.get("X-Rockbank-Version", "")] += 1
            seen.n_bytes += n_bytes
            if answer.status == 200:
                seen.seconds.append(took)
    connection.close()


if __name__ == "__main__":
    main()
