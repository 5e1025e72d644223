"""From a registered version to one that may answer: pulled, verified, warmed up, compared with its golden sample."""

from __future__ import annotations

import errno
import math
import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from rockbank.core.files import parse_json, read_json, write_json
from rockbank.generator.card import REFERENCE, CardMismatch, ModelCard
from rockbank.generator.windows import tile_shape
from rockbank.mlops import registry
from rockbank.mlops.failures import StoreError
from serving.base.errors import LoadRefused
from serving.base.logs import log
from serving.base.monitoring import Metrics
from serving.base.settings import Settings
from serving.inference.batching import Batcher
from serving.inference.models import Served
from serving.inference.session import Generator, OneByOne
from serving.inference.thread import ComputeThread

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, kw_only=True)
class Note:
    """What the cache keeps of a model for the next start.

    Attributes:
        entry: the version that answered last; None before the first.
        held_back: a version that was rolled back from.
        given_up: a canary that broke a rule.
    """

    entry: registry.Entry | None = None
    held_back: str | None = None
    given_up: str | None = None


class Loader:
    """Loads versions, by way of a cache that also serves while the registry is down. Its methods block."""

    def __init__(self, settings: Settings, metrics: Metrics, thread: ComputeThread) -> None:
        """A loader whose versions compute in `thread`."""
        self._settings = settings
        self._metrics = metrics
        self._thread = thread
        # By model: a version that is being loaded is in no slot yet, and its files must not be taken for old ones.
        self._at_files: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def load(self, entry: registry.Entry) -> Served:
        """The version, ready to answer.

        Raises:
            LoadRefused: where it may not be served, or could not be had; `reason` says which.
        """
        with self._at_files[entry.name]:
            return self._load(entry)

    def _load(self, entry: registry.Entry) -> Served:
        settings = self._settings
        folder = settings.cache / entry.name / entry.version
        card = self._pulled(entry, folder)
        generator = Generator(
            folder,
            card,
            threads=settings.threads,
            max_batch=settings.max_batch,
            cuda_graphs=settings.cuda_graphs,
        )
        self._metrics.expected_provider_mismatch.labels(entry.name).set(generator.gpu_missed)
        if settings.require_gpu:
            generator.require_gpu()
        difference = generator.check_golden()
        try:
            reference = parse_json(card.read(folder, REFERENCE), folder / REFERENCE)
        except CardMismatch as error:
            raise LoadRefused(str(error), "hash") from error
        except (OSError, ValueError) as error:
            raise LoadRefused(str(error), "files") from error
        batcher = Batcher(
            generator,
            self._thread,
            self._metrics,
            max_wait=settings.max_wait_ms / 1000,
            max_queue=settings.max_queue,
        )
        return Served(
            entry=entry,
            card=card,
            reference=reference,
            folder=folder,
            generator=generator,
            batcher=batcher,
            tiles=self._tiles(generator, card),
            golden=difference,
        )

    def expose(self, served: Served) -> None:
        """Tell of a version that is taken: one that came too late is loaded, and never was."""
        name, version, card, generator = served.name, served.version, served.card, served.generator
        self._metrics.loaded(
            name,
            version,
            generator=card.generator,
            run_id=served.entry.run_id or "",
            data_md5=card.data_md5 or "",
            provider=generator.provider,
        )
        self._metrics.golden_max_difference.labels(name, version).set(served.golden)
        self._metrics.golden_mismatch.labels(name, version).set(0)
        log.info(
            "loaded %s/%s (%s) on %s, batches of %s",
            name, version, card.generator, generator.provider, list(generator.buckets),
        )  # fmt: skip

    def _tiles(self, generator: Generator, card: ModelCard) -> Batcher | None:
        if card.lattice is None:
            return None
        # A tile takes the time of as many samples as have its pixels.
        n_samples = max(1, math.prod(tile_shape(card)) // math.prod(card.image_shape))
        max_queue = max(1, self._settings.max_queue // n_samples)
        return Batcher(OneByOne(generator), self._thread, self._metrics, max_wait=0.0, max_queue=max_queue)

    def _pulled(self, entry: registry.Entry, folder: Path) -> ModelCard:
        """The verified card of the files in `folder`, which are pulled where they are not there or do not hold."""
        try:
            if folder.is_dir():
                try:
                    return registry.check_pulled(entry, folder)
                except (CardMismatch, registry.PromotionRefused, ValueError) as error:
                    log.warning(
                        "the cached %s/%s does not hold, and is pulled again: %s", entry.name, entry.version, error
                    )
            return registry.pull(f"{entry.name}/{entry.version}", folder)[1]
        except CardMismatch as error:
            raise LoadRefused(str(error), "hash") from error
        except registry.PromotionRefused as error:
            raise LoadRefused(str(error), "ungated") from error
        except (StoreError, registry.RegistryError, OSError) as error:
            if _is_full(error):
                raise LoadRefused(f"no room for {folder}: {error}; free some, or set ROCKBANK_CACHE", "disk") from error
            reason = "registry" if isinstance(error, (StoreError, registry.RegistryError)) else "files"
            raise LoadRefused(str(error), reason) from error
        # A card that is no card.
        except (ValueError, KeyError, TypeError) as error:
            raise LoadRefused(f"{entry.name}/{entry.version}: {error}; register the generator again", "card") from error

    def remember(self, reference: str, note: Note) -> None:
        """Keep what is to be known of `reference` at the next start."""
        raw = asdict(note)
        write_json(self._note(reference), {**raw.pop("entry"), **raw})

    def remembered(self, reference: str) -> Note:
        """What was kept of `reference`."""
        path = self._note(reference)
        if not path.is_file():
            return Note()
        try:
            raw = read_json(path)
            # Older notes have none.
            away = {name: raw.pop(name, None) for name in ("held_back", "given_up")}
            return Note(entry=registry.Entry(**{**raw, "aliases": tuple(raw["aliases"])}), **away)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("%s: not a note of ours, and left alone: %s", path, error)
            return Note()

    def prune(self, name: str, keep: Callable[[], Collection[str | None]]) -> None:
        """Remove the cached versions of a model that are not in `keep`; the next time, where one is being loaded."""
        at_files = self._at_files[name]
        if not at_files.acquire(blocking=False):
            return
        try:
            kept = keep()
            for folder in (self._settings.cache / name).glob("[0-9]*"):
                if folder.is_dir() and folder.name not in kept:
                    shutil.rmtree(folder, ignore_errors=True)
        finally:
            at_files.release()

    def _note(self, reference: str) -> Path:
        name, alias = reference.split("@", 1)
        return self._settings.cache / name / f"{alias}.json"


def _is_full(error: BaseException) -> bool:
    """Whether a full disk is behind it; MLflow keeps of some errors the text alone."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _NO_SPACE:
            return True
        cause = cause.__cause__ or cause.__context__
    return any(os.strerror(number) in str(error) for number in _NO_SPACE)
