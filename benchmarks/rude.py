"""Clients that are slow, and such as send what is no request: python -m benchmarks.rude URL --seconds 10

They come from an address of their own on the loopback. Prints, as JSON, how often each kind was answered with which
status, or its connection closed without an answer.
"""

from __future__ import annotations

import argparse
import itertools
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

ADDRESS = "127.0.0.2"
# Between two malformed requests, two bytes of a head, and two pieces of an answer that is read.
PAUSE_SECONDS, BYTE_SECONDS, READ_SECONDS = 0.1, 0.5, 0.2
CLOSED = "closed"
Send = Callable[[socket.socket], None]
_POST = "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
_MANY = _POST + 'Content-Length: 27\r\n\r\n{{"n": 256, "format": "npy"}}'
MALFORMED = {
    "a body cut short": _POST + "Content-Length: 9\r\n\r\n{{'n': 4}}",
    "a number that is none": _POST + 'Content-Length: 13\r\n\r\n{{"n": "four"}}',
    "JSON cut short": _POST + 'Content-Length: 4\r\n\r\n{{"n"',
    "two lengths": _POST + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}",
    "a chunk of no size": _POST + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "two Host headers": "GET {path} HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n",
    "no protocol": "GET {path}\r\n\r\n",
    "bytes": "\x00\x01\x02\x03\r\n\r\n",
}


def main() -> None:
    """Send, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    where = urlsplit(options.url)
    host, path = where.netloc, where.path
    until, seen, lock = time.monotonic() + options.seconds, Counter[str](), threading.Lock()

    def keep(kinds: dict[str, Send], then: Send = lambda connection: None) -> None:
        """One kind after the other, each over a connection of its own, until the time is over."""
        for kind, send in itertools.cycle(kinds.items()):
            if time.monotonic() > until:
                return
            status = answer_to(send, then, host)
            with lock:
                seen[f"{kind}: {status}"] += 1

    broken = {kind: sending(text.format(host=host, path=path)) for kind, text in MALFORMED.items()}
    slow = {
        "a head byte by byte": dripping(_POST.format(host=host, path=path), until),
        "an answer that is hardly read": sending(_MANY.format(host=host, path=path)),
    }
    threads = [threading.Thread(target=keep, args=(broken,))]
    threads += [threading.Thread(target=keep, args=({kind: send}, sip)) for kind, send in slow.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(seen))


def answer_to(send: Send, then: Send, host: str) -> str:
    """The status with which the connection was answered, or that it was closed without one; then what is done next."""
    name, port = host.rsplit(":", 1)
    try:
        with socket.create_connection((name, int(port)), timeout=60, source_address=(ADDRESS, 0)) as connection:
            send(connection)
            line = connection.recv(64).split(b"\r\n")[0].split()
            status = line[1].decode() if len(line) > 1 else CLOSED
            then(connection)
    except OSError:
        return CLOSED
    return status


def sending(text: str) -> Send:
    """All of it at once."""

    def send(connection: socket.socket) -> None:
        time.sleep(PAUSE_SECONDS)
        connection.sendall(text.encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)

    return send


def dripping(text: str, until: float) -> Send:
    """Byte by byte, until the service has enough of it."""

    def send(connection: socket.socket) -> None:
        for each in text.encode():
            if time.monotonic() > until:
                return
            connection.sendall(bytes([each]))
            time.sleep(BYTE_SECONDS)

    return send


def sip(connection: socket.socket) -> None:
    """Reads an answer a kilobyte at a time, for ten seconds."""
    for _ in range(round(10 / READ_SECONDS)):
        if not connection.recv(1024):
            return
        time.sleep(READ_SECONDS)


if __name__ == "__main__":
    main()
