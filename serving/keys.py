"""API keys: kept as hashes, compared in constant time, each with a rate of its own.

A line may limit its key further: `samples=N` a minute, `concurrent=N` requests at once, and `weight=X`, its part of the
samples where several keys want more than there are. `python -m serving.keys NAME [admin]` makes a key and the line of
the keys file that admits it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.base.clients import Client
from serving.base.errors import BadKey, RateLimited, TooManyAtOnce
from serving.base.settings import SettingsError

ROLES = ("user", "admin")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HASH = re.compile(r"[0-9a-f]{64}")
# Addresses that an open service keeps count of; the one not seen for longest is forgotten.
_N_BUCKETS = 10_000
_LIMITS: dict[str, Callable[[str], float]] = {"samples": float, "concurrent": int, "weight": float}


@dataclass(frozen=True, kw_only=True)
class Key:
    """Who may do what.

    Attributes:
        name: in logs.
        fingerprint: SHA-256 of the key, hexadecimal. Keys are 256 random bits, so there is nothing to guess slowly.
        role: "user", or "admin", who may also roll back.
        rate: requests a minute; None for the setting's.
        samples: likewise.
        concurrent: requests at once; None for the setting's.
        weight: of its samples against those of others, where they have to wait for each other.
    """

    name: str
    fingerprint: str
    role: str = "user"
    rate: float | None = None
    samples: float | None = None
    concurrent: int | None = None
    weight: float = 1.0


OPEN = Key(name="anonymous", fingerprint="", role="admin")


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file, a line each: `name:sha256[:role][:requests a minute][:limit=value..]`; `#` begins a comment.

    Raises:
        SettingsError: naming the line that cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: the keys cannot be read: {error}; see ROCKBANK_KEYS_FILE") from error
    keys = []
    for i_line, line in enumerate(lines, start=1):
        text = line.split("#", 1)[0].strip()
        if text:
            keys.append(_read_line(text, f"{path}, line {i_line}"))
    if not keys:
        raise SettingsError(f"{path}: has no keys; 'python -m serving.keys NAME' makes one")
    return tuple(keys)


def _read_line(text: str, where: str) -> Key:
    parts = text.split(":")
    limits = _read_limits([part for part in parts[2:] if "=" in part], where)
    name, fingerprint, role, rate, *more = [*(part for part in parts if "=" not in part), "", "", "", ""]
    if not _NAME.fullmatch(name) or not _HASH.fullmatch(fingerprint) or role not in (*ROLES, "") or any(more):
        # Not the line itself: it may hold a key by mistake.
        raise SettingsError(f"{where}: not name:sha256[:user|admin][:rate]; 'python -m serving.keys NAME' makes one")
    try:
        per_minute = float(rate) if rate else None
    except ValueError:
        per_minute = -1.0
    if per_minute is not None and not 0 < per_minute < float("inf"):
        raise SettingsError(f"{where}: rate: got '{rate}'; use a number of requests a minute above 0")
    return Key(name=name, fingerprint=fingerprint, role=role or "user", rate=per_minute, **limits)


def _read_limits(parts: list[str], where: str) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for part in parts:
        limit, _, text = part.partition("=")
        try:
            value = _LIMITS[limit](text)
        except (KeyError, ValueError) as error:
            raise SettingsError(f"{where}: got '{part}'; limits are {sorted(_LIMITS)}, each =NUMBER") from error
        if not 0 < value < float("inf") or limit in limits:
            raise SettingsError(f"{where}: got '{part}'; use a number above 0, once")
        limits[limit] = value
    return limits


class Keys:
    """Who may ask, and how often; without a file everybody may."""

    def __init__(
        self,
        path: Path | None,
        rate_per_minute: float | None,
        samples_per_minute: float | None = None,
        max_concurrent: int | None = None,
    ) -> None:
        """Read the keys of `path`; the limits are those of keys that have none of their own."""
        self._path = path
        self._rate = rate_per_minute
        self._samples = samples_per_minute
        self._concurrent = max_concurrent
        self._n_under_way: Counter[str] = Counter()
        # Before the file is read: one that changes meanwhile is read again.
        self._changed = path.stat().st_mtime_ns if path is not None else 0
        self._keys = read_keys(path) if path is not None else ()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def is_open(self) -> bool:
        """Whether no key is required."""
        return self._path is None

    def reload(self) -> bool:
        """Read the file again where it has changed; a file that cannot be read leaves the keys as they are.

        Raises:
            SettingsError: where it cannot be read.
        """
        if self._path is None:
            return False
        try:
            changed = self._path.stat().st_mtime_ns
        except OSError as error:
            raise SettingsError(f"{self._path}: the keys cannot be read: {error}; the old ones hold") from error
        if changed == self._changed:
            return False
        # A file that cannot be read is read again at the next call, in case it was half written.
        self._keys = read_keys(self._path)
        self._changed = changed
        return True

    def check(self, given: str | None) -> Key:
        """Whose key `given` is.

        Raises:
            BadKey: where it is nobody's.
        """
        if self._path is None:
            return OPEN
        if not given:
            raise BadKey("no key; send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
        fingerprint = hashlib.sha256(given.encode("utf-8", "surrogateescape")).hexdigest()
        # Every key is compared, so the time tells neither how much of a hash fits nor whose it is.
        found = [key for key in self._keys if hmac.compare_digest(key.fingerprint, fingerprint)]
        if not found:
            raise BadKey("the key is not known; ask the operator of this service for one")
        return found[0]

    def client(self, key: Key, address: str) -> Client:
        """Who asks with a key; or from an address, where no key is required."""
        return Client(
            name=f"address {address}" if self.is_open else f"key {key.name}",
            weight=key.weight,
            per_minute=key.rate or self._rate,
            samples_per_minute=key.samples or self._samples,
            concurrent=key.concurrent or self._concurrent,
        )

    def begin(self, client: Client, now: float | None = None) -> None:
        """Count one request, which `end` ends.

        Raises:
            RateLimited: where its requests of this minute are used up.
            TooManyAtOnce: where it has as many under way as it may.
        """
        if client.concurrent is not None and self._n_under_way[client.name] >= client.concurrent:
            raise TooManyAtOnce(
                f"{client.name} has {client.concurrent} requests under way, as many as it may; wait for one of them",
                retry_after=1,
            )
        self._spend(client, "requests", client.per_minute, 1, now)
        self._n_under_way[client.name] += 1

    def end(self, client: Client) -> None:
        """One of its requests is answered."""
        self._n_under_way[client.name] -= 1
        if self._n_under_way[client.name] <= 0:
            del self._n_under_way[client.name]

    def count_samples(self, client: Client, n: float, now: float | None = None) -> None:
        """Count what a request is about to sample.

        Raises:
            RateLimited: where its samples of this minute are used up.
        """
        self._spend(client, "samples", client.samples_per_minute, n, now)

    def _spend(self, client: Client, what: str, rate: float | None, n: float, now: float | None) -> None:
        """Take `n` from a client's bucket, which holds a minute's and fills at their rate.

        What is larger than the bucket is taken from a full one, which then fills for longer.
        """
        if rate is None:
            return
        now = time.monotonic() if now is None else now
        full, who = max(1.0, rate), f"{client.name}: {what}"
        left, then = self._buckets.get(who, (full, now))
        left = min(full, left + (now - then) * rate / 60)
        if left < min(n, full):
            raise RateLimited(
                f"{client.name} has used up its {rate:g} {what} a minute; ask again after the seconds of Retry-After",
                retry_after=(min(n, full) - left) * 60 / rate,
            )
        self._buckets[who] = (left - n, now)
        self._buckets.move_to_end(who)
        if len(self._buckets) > _N_BUCKETS:
            self._buckets.popitem(last=False)


def make_key(name: str, role: str = "user") -> tuple[str, str]:
    """A new key, and the line of the keys file that admits it."""
    if not _NAME.fullmatch(name) or role not in ROLES:
        raise SettingsError(f"got '{name}' and '{role}'; use letters and digits for a name, and one of {list(ROLES)}")
    key = secrets.token_urlsafe(32)
    return key, f"{name}:{hashlib.sha256(key.encode()).hexdigest()}:{role}"


def main() -> None:
    """Print a new key and its line."""
    if not 2 <= len(sys.argv) <= 3:
        raise SystemExit("usage: python -m serving.keys NAME [user|admin]")
    try:
        key, line = make_key(*sys.argv[1:])
    except SettingsError as error:
        raise SystemExit(str(error)) from error
    print(f"the key, for its owner alone:   {key}\nits line in ROCKBANK_KEYS_FILE: {line}")


if __name__ == "__main__":
    main()
