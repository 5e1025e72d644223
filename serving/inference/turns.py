"""Whose turn it is: self-clocked fair queueing (Golestani 1994, INFOCOM, eq. 7).

    finish(k) = max(finish(k - 1), now) + n(k) / weight,   of a client's requests k, n samples each

The least finish is served next, and is then `now`. A client with few samples is before those who have many waiting, and
each gets samples in proportion to its weight while all of them want more. Of a request that is served in parts, `now`
is the finish that it would have without the parts still to come: who comes meanwhile does not wait for them.
"""

from __future__ import annotations

from serving.base.clients import Client


class Turns:
    """The clock of one queue."""

    def __init__(self) -> None:
        """Without any request yet."""
        self._now = 0.0
        self._finish: dict[str, float] = {}

    def finish(self, client: Client, n: int) -> float:
        """The place of a request for `n` samples, by which a queue is to be sorted."""
        finish = max(self._finish.get(client.name, 0.0), self._now) + n / client.weight
        self._finish[client.name] = finish
        return finish

    def serve(self, finish: float) -> None:
        """The request of that place is served now."""
        if finish > self._now:
            self._now = finish
            self._finish = {name: other for name, other in self._finish.items() if other > finish}
