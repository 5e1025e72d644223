"""Samples in large numbers: computed into a file behind the requests of others, and fetched when they are there."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Literal

from rockbank.core.files import read_json, write_json
from serving.base.budget import Share
from serving.base.clients import CLIENT, Client
from serving.base.errors import BadRequest, Busy, Conflict, NotFound, QueueFull, ServingError, TooLarge
from serving.base.logs import REQUEST_ID, log
from serving.dataplane.encode import WHOLE, Chunk
from serving.dataplane.sampling import encoded
from serving.http.samples import Prepared, draw_seed, entity_tag, prepare
from serving.inference.models import CURRENT, Served
from serving.protocol.schemas import GenerateRequest, parse_fields
from serving.service import Service

State = Literal["queued", "running", "done", "failed"]
# They have a tenth of what one client gets while others wait.
_JOBS = Client(name="jobs", weight=0.1)
_FILE, _ABOUT = "result", "job.json"
# Between two tries of a job whose samples were refused for the sake of others.
_WAIT_SECONDS = 0.5


@dataclass(kw_only=True)
class Job:
    """One job.

    Attributes:
        id: nobody guesses it.
        owner: name of the key that sent it.
        model: that samples.
        version: of it, which answers to the end.
        seed: of the samples.
        request: as `GenerateRequest` has it.
        created: seconds since 1970.
        state: where it stands.
        fraction: of its values that are computed.
        error: why it failed.
        headers: of the result.
        sha256: of the result, in hexadecimal; None until it is done.
    """

    id: str
    owner: str
    model: str
    version: str
    seed: int
    request: dict[str, Any]
    created: float
    state: State = "queued"
    fraction: float = 0.0
    error: str | None = None
    headers: dict[str, str]
    sha256: str | None = None


class Jobs:
    """One job is computed at a time; what is done is kept on disk, within the settings' bounds, across a restart."""

    def __init__(self, service: Service) -> None:
        """The jobs that are on disk; those that were not done begin anew, with the same bytes."""
        self._service = service
        self._folder = service.settings.cache / "jobs"
        self._jobs: dict[str, Job] = {}
        # By the monotonic clock, when each was sent: a clock that is set changes no age.
        self._sent: dict[str, float] = {}
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._working: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to compute."""
        for path in sorted(self._folder.glob(f"*/{_ABOUT}")):
            try:
                raw = read_json(path)
                job = Job(**{field.name: raw[field.name] for field in fields(Job) if field.name in raw})
            except (OSError, ValueError, TypeError, KeyError) as error:
                log.warning("%s: not a job of ours, and left alone: %s", path, error)
                continue
            self._jobs[job.id] = job
            self._sent[job.id] = time.monotonic() - max(0.0, time.time() - job.created)
            if job.state in ("queued", "running"):
                job.state = "queued"
                self._queue.put_nowait(job)
        self._working = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Compute no more; what is not done begins anew at the next start."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

    def add(self, served: Served, body: GenerateRequest, owner: str) -> Job:
        """A new job.

        Raises:
            BadRequest, TooLarge, QueueFull: where it cannot be taken, with the remedy.
        """
        settings = self._service.settings
        self._expire()
        if body.format in WHOLE:
            raise BadRequest(f"format: got {body.format}; a job writes its samples as they come: ask for npy or tiff")
        if body.condition is not None:
            raise BadRequest(f"a {body.condition} has at most 512 samples, which generate gives at once; leave it out")
        if body.n > settings.max_job_n:
            raise BadRequest(f"n: got {body.n}; ask for at most {settings.max_job_n}, with several seeds")
        n_bytes = 4 * body.n * served.n_values
        if n_bytes > settings.max_job_bytes:
            most = settings.max_job_bytes // (4 * served.n_values)
            raise TooLarge(f"n: got {body.n}, {n_bytes} bytes of float32; ask for at most {most}, with several seeds")
        if self._queue.qsize() >= settings.max_jobs:
            raise QueueFull(f"{self._queue.qsize()} jobs are waiting; ask again when some are done", retry_after=10.0)
        self._service.count_samples(body.n)
        seed = draw_seed() if body.seed is None else body.seed
        job = Job(
            id=secrets.token_hex(16),
            owner=owner,
            model=served.name,
            version=served.version,
            seed=seed,
            request=body.model_dump(exclude_none=True),
            created=time.time(),
            headers={"ETag": entity_tag(served, body, seed)},
        )
        self._write(job)
        self._jobs[job.id] = job
        self._sent[job.id] = time.monotonic()
        self._queue.put_nowait(job)
        return job

    def find(self, id_: str, owner: str, *, is_admin: bool = False) -> Job:
        """A job of this owner; others' are not there for him.

        Raises:
            NotFound: where there is none.
        """
        self._expire()
        job = self._jobs.get(id_)
        if job is None or (job.owner != owner and not is_admin):
            raise NotFound(
                f"no such job: '{id_[:40]}'; it was removed, or is kept no longer than "
                f"{self._service.settings.job_seconds:g} s, or is another key's"
            )
        return job

    def result(self, job: Job) -> Path:
        """The file of a job that is done.

        Raises:
            Conflict: where it is not.
        """
        if job.state == "failed":
            raise Conflict(f"the job failed: {job.error}; send it again")
        if job.state != "done":
            raise Conflict(
                f"the job is {job.state}, {job.fraction:.0%} computed; ask again later", {"Retry-After": "1"}
            )
        return self._folder / job.id / _FILE

    def remove(self, job: Job) -> None:
        """Forget a job and its file; one that is being computed stops at its next block."""
        self._jobs.pop(job.id, None)
        self._sent.pop(job.id, None)
        shutil.rmtree(self._folder / job.id, ignore_errors=True)

    def _expire(self) -> None:
        """The oldest go first, where they are older or larger together than the settings allow."""
        settings, now = self._service.settings, time.monotonic()
        kept = 0
        for job in sorted(self._jobs.values(), key=lambda each: -self._sent[each.id]):
            path = self._folder / job.id / _FILE
            with suppress(FileNotFoundError):
                kept += path.stat().st_size
            if job.state in ("done", "failed") and (
                now - self._sent[job.id] > settings.job_seconds or kept > settings.max_job_bytes
            ):
                self.remove(job)

    def _write(self, job: Job) -> None:
        folder = self._folder / job.id
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _ABOUT, asdict(job))

    async def _work(self) -> None:
        CLIENT.set(_JOBS)
        while True:
            job = await self._queue.get()
            if job.id not in self._jobs:
                continue
            token = REQUEST_ID.set(job.id)
            try:
                job.state, job.error = "running", None
                await self._compute(job)
                job.state, job.fraction = "done", 1.0
            # Whatever a job meets is its own answer; the next ones go on.
            except Exception as error:
                if not isinstance(error, ServingError):
                    log.exception("a job failed in a way that was not foreseen")
                job.state, job.error = "failed", str(error) or type(error).__name__
            finally:
                REQUEST_ID.reset(token)
            if job.id in self._jobs:
                with suppress(OSError):
                    await asyncio.to_thread(self._write, job)
                log.info("job %s is %s", job.id, job.state, extra={"key": job.owner})

    async def _compute(self, job: Job) -> None:
        service = self._service
        served = service.models.find(job.model, job.version)
        body = parse_fields(GenerateRequest, job.request)
        path = self._folder / job.id / _FILE
        while True:
            try:
                with Share(service.budget) as share:
                    prepared = await prepare(
                        service,
                        body,
                        served,
                        CURRENT,
                        job.seed,
                        request_id=job.id,
                        share=share,
                        n_max=service.settings.max_job_n,
                    )
                    await self._fill(job, path, served, prepared)
            except (Busy, QueueFull):
                # Those who wait come first.
                await asyncio.sleep(_WAIT_SECONDS)
                continue
            job.headers |= prepared.headers
            return

    async def _fill(self, job: Job, path: Path, served: Served, prepared: Prepared) -> None:
        most, n_bytes, n_written = self._service.settings.max_job_bytes, prepared.encoder.size, 0
        digest = sha256()
        pieces = encoded(self._service.sampling, served, prepared.encoder, prepared.blocks)
        try:
            with path.open("wb") as file:
                async for chunks, _ in pieces:
                    if job.id not in self._jobs:
                        raise Conflict("the job was removed")
                    await asyncio.to_thread(_append, file, digest, chunks)
                    n_written += sum(map(len, chunks))
                    if n_written > most:
                        raise TooLarge(f"more than {most} bytes; ask for fewer samples, or for npy")
                    job.fraction = n_written / n_bytes if n_bytes else 0.0
            job.sha256 = digest.hexdigest()
        finally:
            await pieces.aclose()


def _append(file: IO[bytes], digest: Any, chunks: Iterable[Chunk]) -> None:
    for chunk in chunks:
        file.write(chunk)
        digest.update(chunk)
