"""A client that keeps the service busy: python -m benchmarks.load URL BODY --connections 4 --seconds 10

In a process of its own, so that it does not share an interpreter with what it measures. Each connection sends the next
request when the last was answered whole, or with --rate at random times. Prints what it saw as JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

import httptools


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


class Connection:
    """One connection, opened when it is needed. What it does to an answer itself is in every time, so it does little.

    Attributes:
        status: of the last answer.
        version: that gave it; empty where it names none.
        n_bytes: of its body.
    """

    def __init__(self, url: SplitResult) -> None:
        """Of one URL, which every request is sent to."""
        self._url = url
        self._socket: socket.socket | None = None
        self.status, self.version, self.n_bytes = 0, "", 0
        self._is_whole = self._is_kept = False

    def post(self, body: bytes) -> None:
        """Send JSON, and read the whole answer.

        Raises:
            OSError, httptools.HttpParserError: where there is none.
        """
        if self._socket is None:
            self._socket = socket.create_connection((self._url.hostname, self._url.port), timeout=60)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.version, self.n_bytes, self._is_whole = "", 0, False
        self._parser = httptools.HttpResponseParser(self)
        head = (
            f"POST {self._url.path} HTTP/1.1\r\nHost: {self._url.netloc}\r\nAccept-Encoding: identity\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)
        while not self._is_whole:
            data = self._socket.recv(2**16)
            if not data:
                raise ConnectionError("the connection ended before the answer did")
            self._parser.feed_data(data)
        if not self._is_kept:
            self.close()

    def close(self) -> None:
        """The next request opens another."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if name.lower() == b"x-rockbank-version":
            self.version = value.decode()

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self.n_bytes += len(body)

    def on_message_complete(self) -> None:
        """Called by the parser, which knows no more of the answer afterwards."""
        self._is_whole, self._is_kept = True, self._parser.should_keep_alive()
        self.status = self._parser.get_status_code()


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
    connection, n = Connection(urlsplit(options.url)), 0
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
            connection.post(sent.encode())
        except (OSError, httptools.HttpParserError) as error:
            connection.close()
            with lock:
                seen.statuses["error"] += 1
                seen.errors[5:] = []
                seen.errors.append(f"{type(error).__name__}: {error}")
            continue
        took = time.perf_counter() - began
        with lock:
            seen.statuses[str(connection.status)] += 1
            seen.versions[connection.version] += 1
            seen.n_bytes += connection.n_bytes
            if connection.status == 200:
                seen.seconds.append(took)
    connection.close()


if __name__ == "__main__":
    main()
