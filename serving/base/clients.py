"""Whose request is being answered: its share of what all of them want follows from it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Client:
    """A key's owner, or an address where no key is required.

    Attributes:
        name: as messages have it.
        weight: its samples count as so many times fewer when turns are given.
        per_minute: requests; None for any number.
        samples_per_minute: likewise.
        concurrent: requests at once; None for any number.
        deadline_seconds: of each block of samples; None for the settings'.
    """

    name: str
    weight: float = 1.0
    per_minute: float | None = None
    samples_per_minute: float | None = None
    concurrent: int | None = None
    deadline_seconds: float | None = None


NOBODY = Client(name="the service itself")
CLIENT: ContextVar[Client] = ContextVar("client", default=NOBODY)
