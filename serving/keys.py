"""API keys: kept as hashes, compared in constant time, each with a rate of its own.

`python -m serving.keys NAME [admin]` makes a key and the line of the keys file that admits it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from serving.base.errors import BadKey, RateLimited
from serving.base.settings import SettingsError

ROLES = ("user", "admin")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HASH = re.compile(r"[0-9a-f]{64}")
# Addresses that an open service keeps count of; the one not seen for longest is forgotten.
_N_BUCKETS = 10_000


@dataclass(frozen=True, kw_only=True)
class Key:
    """Who may do what.

    Attributes:
        name: in logs.
        fingerprint: SHA-256 of the key, hexadecimal. Keys are 256 random bits, so there is nothing to guess slowly.
        role: "user", or "admin", who may also roll back.
        rate: requests a minute; None for the setting's.
    """

    name: str
    fingerprint: str
    role: str = "user"
    rate: float | None = None


OPEN = Key(name="anonymous", fingerprint="", role="admin")


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file, a line each: name:sha256[:role][:requests a minute]; `#` begins a comment.

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
    name, fingerprint, role, rate, *more = [*text.split(":"), "", "", ""]
    if not _NAME.fullmatch(name) or not _HASH.fullmatch(fingerprint) or role not in (*ROLES, "") or any(more):
        # Not the line itself: it may hold a key by mistake.
        raise SettingsError(f"{where}: not name:sha256[:user|admin][:rate]; 'python -m serving.keys NAME' makes one")
    try:
        per_minute = float(rate) if rate else None
    except ValueError:
        per_minute = -1.0
    if per_minute is not None and not 0 < per_minute < float("inf"):
        raise SettingsError(f"{where}: rate: got '{rate}'; use a number of requests a minute above 0")
    return Key(name=name, fingerprint=fingerprint, role=role or "user", rate=per_minute)


class Keys:
    """Who may ask, and how often; without a file everybody may."""

    def __init__(self, path: Path | None, rate_per_minute: float | None) -> None:
        """Read the keys of `path`."""
        self._path = path
        self._rate = rate_per_minute
        # Before the file is read: one that changes meanwhile is read again.
        self._changed = path.stat().st_mtime_ns if path is not None else 0
        self._keys = read_keys(path) if path is not None else ()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def is_open(self) -> bool:
        """Whether no key is asked for."""
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

    def count(self, key: Key, address: str, now: float | None = None) -> None:
        """Count one request of a key, or of an address where no key is asked for.

        The key's bucket holds a minute's requests, and fills at their rate.

        Raises:
            RateLimited: where it is empty.
        """
        rate = key.rate or self._rate
        if rate is None:
            return
        now = time.monotonic() if now is None else now
        who = f"key {key.name}" if not self.is_open else f"address {address}"
        full = max(1.0, rate)
        left, then = self._buckets.get(who, (full, now))
        left = min(full, left + (now - then) * rate / 60)
        if left < 1:
            raise RateLimited(
                f"{who} has used up its {rate:g} requests a minute; ask again after the seconds of Retry-After",
                retry_after=(1 - left) * 60 / rate,
            )
        self._buckets[who] = (left - 1, now)
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
