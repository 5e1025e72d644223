"""What is loaded, and which version answers a request."""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rockbank.generator.card import ModelCard
from serving.base.errors import NotFound, NothingToRollBack, NotReady
from serving.base.monitoring import Metrics
from serving.inference.batching import Batcher
from serving.inference.outcomes import Outcomes
from serving.inference.session import Generator

if TYPE_CHECKING:
    from rockbank.mlops.registry import Entry

# Of the history that the status page shows.
_N_SWAPS = 50
CURRENT, PREVIOUS, CANARY, SHADOW = "current", "previous", "canary", "shadow"


@dataclass(eq=False, kw_only=True)
class Served:
    """A loaded version.

    Attributes:
        entry: as the registry has it.
        card: verified against its files.
        reference: reference.json, statistics of held-out rock.
        folder: of its files.
        generator: its session, warmed up and compared with the golden sample.
        batcher: the queue before it.
        golden: difference from the golden sample at its load.
        tiles: the queue of an endless generator for latents of other extents than the card's, one at a time; None
            where all images have one size.
        loaded: when, seconds since 1970.
        users: requests that are being answered by it.
        jobs: that began with it; it is closed after them, however long they take.
        is_closed: whether it answers nothing more; nobody should keep hold of it.
        outcomes: of its requests.
    """

    entry: Entry
    card: ModelCard
    reference: Mapping[str, Any]
    folder: Path
    generator: Generator
    batcher: Batcher
    loaded: float = field(default_factory=time.time)
    users: int = 0
    jobs: int = 0
    is_closed: bool = False
    golden: float = 0.0
    outcomes: Outcomes = field(default_factory=Outcomes)
    tiles: Batcher | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for it and nothing is computed."""
        return self.batcher.idle and (self.tiles is None or self.tiles.idle)

    def close(self) -> None:
        """Take nothing more; what waits is refused."""
        self.batcher.close()
        if self.tiles is not None:
            self.tiles.close()

    @property
    def name(self) -> str:
        """The registered model's."""
        return self.entry.name

    @property
    def version(self) -> str:
        """Of the registered model."""
        return self.entry.version

    @property
    def n_values(self) -> int:
        """Values of one image."""
        return math.prod(self.card.image_shape)

    @contextmanager
    def used(self) -> Iterator[None]:
        """As long as a request is answered by it: the version is not closed before."""
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1


@dataclass(eq=False, kw_only=True)
class Slot:
    """The versions of one model.

    Attributes:
        reference: NAME@ALIAS that is followed.
        current: answers; None before the first load.
        previous: stays loaded, for a rollback at once.
        canary: answers a part of the requests.
        shadow: computes a part of the requests, for comparison only.
        held_back: a version that was rolled back from; it is not loaded again until the alias has named another.
        given_up: a version that broke a canary's rule; it is no canary again until the alias names another.
        alias_version: what the alias named when it was last read.
        alias_read: when it was last read, on the monotonic clock; None if never.
        behind_since: since when the alias has named a version that is not served, on the monotonic clock.
        problem: why the version that the alias names is not served, or the alias could not be read.
        noted: the version that answers and the one held back, as they were last written to the cache.
    """

    reference: str
    current: Served | None = None
    previous: Served | None = None
    canary: Served | None = None
    shadow: Served | None = None
    held_back: str | None = None
    given_up: str | None = None
    alias_version: str | None = None
    alias_read: float | None = None
    behind_since: float | None = None
    problem: str | None = None
    noted: tuple[str, str | None] | None = None

    @property
    def name(self) -> str:
        """The registered model's."""
        return self.reference.split("@")[0]

    def loaded(self) -> dict[str, Served]:
        """What is loaded, by the part that it plays."""
        parts = {CURRENT: self.current, PREVIOUS: self.previous, CANARY: self.canary, SHADOW: self.shadow}
        return {part: served for part, served in parts.items() if served is not None}

    def aliases_of(self, served: Served) -> list[str]:
        """A loaded version's aliases: those of its load, but for the followed one, which has been read since."""
        followed = self.reference.split("@", 1)[1]
        kept = {alias for alias in served.entry.aliases if alias != followed}
        return sorted(kept | ({followed} if self.alias_version == served.version else set()))


@dataclass(frozen=True, kw_only=True)
class Swap:
    """Another version answers than before.

    Attributes:
        at: seconds since 1970.
        model: its name.
        before: the version that answered; None at the first load.
        after: the one that answers.
        is_rollback: whether an admin requested it, rather than the alias.
    """

    at: float
    model: str
    before: str | None
    after: str
    is_rollback: bool


class Models:
    """Every configured model's slot; changes are single assignments, so that no request sees half of one."""

    def __init__(
        self, references: tuple[str, ...], metrics: Metrics, *, canary_weight: float = 0.0, shadow_fraction: float = 0.0
    ) -> None:
        """Empty slots for `references`, NAME@ALIAS."""
        self.slots = {slot.name: slot for slot in (Slot(reference=each) for each in references)}
        self.swaps: deque[Swap] = deque(maxlen=_N_SWAPS)
        self._metrics = metrics
        self._canary_weight = canary_weight
        self._shadow_fraction = shadow_fraction

    def slot(self, name: str) -> Slot:
        """The slot of a model.

        Raises:
            NotFound: with the names that there are.
        """
        if name not in self.slots:
            raise NotFound(f"model '{name[:80]}' is not served here; served are {sorted(self.slots)}")
        return self.slots[name]

    def find(self, name: str, version: str | None = None) -> Served:
        """The version that answers, or the loaded `version`.

        Raises:
            NotFound: where the model or the version is not loaded.
            NotReady: where the model has no version yet.
        """
        slot = self.slot(name)
        if version is None:
            if slot.current is None:
                raise NotReady(
                    f"'{name}' has no version yet: {slot.problem or 'it is being loaded'}; ask again later", 5
                )
            return slot.current
        for served in slot.loaded().values():
            if served.version == version:
                return served
        loaded = sorted({served.version for served in slot.loaded().values()}, key=int)
        raise NotFound(
            f"'{name}' version '{version[:40]}' is not loaded; loaded are {loaded}: leave it out for the current one"
        )

    def route(self, name: str, version: str | None, request_id: str) -> tuple[Served, str]:
        """The version that answers this request, and the part that it plays in it."""
        served = self.find(name, version)
        canary = self.slots[name].canary
        if version is None and canary is not None and _share(request_id, b"canary") < self._canary_weight:
            return canary, CANARY
        return served, CURRENT

    def shadow(self, name: str, request_id: str) -> Served | None:
        """The version that is to compute this request too, for comparison."""
        shadow = self.slots[name].shadow
        return shadow if shadow is not None and _share(request_id, b"shadow") < self._shadow_fraction else None

    def swap(self, served: Served) -> Served | None:
        """Have `served` answer; the one that did becomes the previous.

        Returns:
            What was the previous, to be drained and closed.
        """
        slot = self.slots[served.name]
        dropped, slot.previous, slot.current = slot.previous, slot.current, served
        self._record(slot, slot.previous, is_rollback=False)
        return dropped if dropped is not served else None

    def rollback(self, name: str) -> Served:
        """Have the previous version answer again, at once; a second rollback undoes the first.

        Raises:
            NothingToRollBack: where no previous version is loaded.
        """
        slot = self.slot(name)
        if slot.current is None or slot.previous is None:
            raise NothingToRollBack(
                f"'{name}' has no previous version loaded; promote another with 'rockbank promote {name} --version N'"
            )
        # The version that the alias names must not come back at the next read of it.
        slot.held_back = slot.current.version if slot.current.version == slot.alias_version else None
        slot.current, slot.previous = slot.previous, slot.current
        self._record(slot, slot.previous, is_rollback=True)
        return slot.current

    def _record(self, slot: Slot, before: Served | None, *, is_rollback: bool) -> None:
        if before is not None:
            self._metrics.swaps_total.labels(slot.name).inc()
        if slot.current is not None:
            self.swaps.appendleft(
                Swap(
                    at=time.time(),
                    model=slot.name,
                    before=None if before is None else before.version,
                    after=slot.current.version,
                    is_rollback=is_rollback,
                )
            )

    def loaded(self) -> list[Served]:
        """Every loaded version, once."""
        return list({id(each): each for slot in self.slots.values() for each in slot.loaded().values()}.values())

    def missing(self) -> list[str]:
        """Models that have no version yet."""
        return [name for name, slot in self.slots.items() if slot.current is None]


def _share(request_id: str, salt: bytes) -> float:
    """A request's place in [0, 1), the same on every replica and for every try."""
    digest = hashlib.blake2b(request_id.encode(), digest_size=8, salt=salt).digest()
    return int.from_bytes(digest, "big") / 2**64
