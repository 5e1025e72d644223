"""Samples in large numbers: computed into a file behind the requests of others, and fetched when they are there."""

from __future__ import annotations

import asyncio
import math
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
from serving.base.errors import BadRequest, Busy, Conflict, NotFound, NotReady, QueueFull, ServingError, TooLarge
from serving.base.logs import REQUEST_ID, log
from serving.dataplane.encode import WHOLE, Chunk
from serving.dataplane.sampling import encoded
from serving.http.samples import Prepared, check_request, draw_seed, entity_tag, prepare
from serving.inference.models import CURRENT, Served
from serving.protocol.schemas import GenerateRequest, parse_fields
from serving.service import Service

State = Literal["queued", "running", "done", "failed"]
# They have a tenth of what one client gets while others wait, however long that takes.
_JOBS = Client(name="jobs", weight=0.1, deadline_seconds=math.inf)
_FILE, _ABOUT = "result", "job.json"
# That are done or failed, whose files may be small; more would make each look at them slow.
_N_KEPT = 1000
# Between two tries of a job whose samples were refused for the sake of others.
_WAIT_SECONDS = 0.5


@dataclass(kw_only=True)
class Job:
    """One job.

    Attributes:
        id: nobody guesses it.
        owner: name of the key that sent it.
        model: that samples.
        version: of it, which stays loaded to the end.
        seed: of the samples.
        request: as `GenerateRequest` has it.
        created: seconds since 1970.
        state: where it stands.
        fraction: of its values that are computed.
        error: why it failed.
        headers: of the result.
        sha256: of the result, in hexadecimal; None until it is done.
        n_bytes: of its file, as far as it is written.
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
    n_bytes: int = 0


class Jobs:
    """One job is computed at a time; what is done is kept on disk, within the settings' bounds, across a restart.

    The version with which a job began is not closed before the job is done, whatever is promoted meanwhile.
    """

    def __init__(self, service: Service) -> None:
        """The jobs that are on disk; those that were not done begin anew, with the same bytes."""
        self._service = service
        self._folder = service.settings.cache / "jobs"
        self._jobs: dict[str, Job] = {}
        # By the monotonic clock, when each was sent: a clock that is set changes no age.
        self._sent: dict[str, float] = {}
        self._held: dict[str, Served] = {}
        self._added = asyncio.Event()
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
            with suppress(OSError):
                job.n_bytes = (path.parent / _FILE).stat().st_size
            self._jobs[job.id] = job
            self._sent[job.id] = time.monotonic() - max(0.0, time.time() - job.created)
            if job.state in ("queued", "running"):
                job.state = "queued"
                # What is not loaded is loaded in the job's turn.
                with suppress(NotFound, NotReady):
                    self._hold(job, self._service.models.find(job.model, job.version))
        self._working = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Compute no more; what is not done begins anew at the next start."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

    async def add(self, served: Served, body: GenerateRequest, owner: str) -> Job:
        """A new job.

        Raises:
            BadRequest, TooLarge, QueueFull: where it cannot be taken, with the remedy.
        """
        settings = self._service.settings
        if body.format in WHOLE:
            raise BadRequest(f"format: got {body.format}; a job writes its samples as they come: ask for npy or tiff")
        if body.condition is not None:
            raise BadRequest(f"a {body.condition} has at most 512 samples, which generate gives at once; leave it out")
        check_request(self._service, served, body, settings.max_job_n)
        window = body.requested_window
        n_bytes = 4 * (served.n_values if window is None else window.width * window.height)
        if body.n * n_bytes > settings.max_job_bytes:
            most = settings.max_job_bytes // n_bytes
            remedy = f"ask for at most {most}, with several seeds" if most else "ask for a smaller size"
            raise TooLarge(f"n: got {body.n}, {body.n * n_bytes} bytes of float32; {remedy}")
        if (n_waiting := len(self._waiting())) >= settings.max_jobs:
            raise QueueFull(f"{n_waiting} jobs are waiting; ask again when some are done", retry_after=10.0)
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
        self._hold(job, served)
        self._jobs[job.id] = job
        self._sent[job.id] = time.monotonic()
        self._added.set()
        await self._expire()
        return job

    async def find(self, id_: str, owner: str, *, is_admin: bool = False) -> Job:
        """A job of this owner; others' are not there for him.

        Raises:
            NotFound: where there is none.
        """
        await self._expire()
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

    async def remove(self, *jobs: Job) -> None:
        """Forget jobs and their files; one that is being computed stops at its next block."""
        for job in jobs:
            self._jobs.pop(job.id, None)
            self._sent.pop(job.id, None)
            self._release(job)
        await asyncio.to_thread(_remove_folders, [self._folder / job.id for job in jobs])

    async def _expire(self) -> None:
        """The oldest go first, where they are older, or more or larger together, than is kept."""
        settings, now = self._service.settings, time.monotonic()
        n_kept = kept_bytes = 0
        expired = []
        for job in sorted(self._jobs.values(), key=lambda each: -self._sent[each.id]):
            kept_bytes += job.n_bytes
            if job.state not in ("done", "failed"):
                continue
            n_kept += 1
            is_old = now - self._sent[job.id] > settings.job_seconds
            if is_old or n_kept > _N_KEPT or kept_bytes > settings.max_job_bytes:
                expired.append(job)
        if expired:
            await self.remove(*expired)

    def _waiting(self) -> list[Job]:
        """The oldest first."""
        waiting = [job for job in self._jobs.values() if job.state == "queued"]
        return sorted(waiting, key=lambda job: self._sent[job.id])

    def _hold(self, job: Job, served: Served) -> None:
        self._held[job.id] = served
        served.jobs += 1

    async def _load(self, job: Job) -> None:
        """Hold the version of a job of before the restart, for those too that wait for the same one."""
        served = await self._service.follower.find_or_load(job.model, job.version)
        for each in (job, *self._waiting()):
            if (each.model, each.version) == (job.model, job.version) and each.id not in self._held:
                self._hold(each, served)

    def _release(self, job: Job) -> None:
        if (served := self._held.pop(job.id, None)) is not None:
            served.jobs -= 1

    def _write(self, job: Job) -> None:
        folder = self._folder / job.id
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _ABOUT, asdict(job))

    async def _work(self) -> None:
        CLIENT.set(_JOBS)
        while True:
            while not (waiting := self._waiting()):
                self._added.clear()
                await self._added.wait()
            job = waiting[0]
            token = REQUEST_ID.set(job.id)
            try:
                job.state, job.error = "running", None
                await self._compute(job)
                job.state, job.fraction = "done", 1.0
            # Whatever a job meets is its own answer; the next ones go on.
            except Exception as error:
                if not isinstance(error, ServingError):
                    log.exception("a job failed in a way that was not foreseen")
                with suppress(OSError):
                    await asyncio.to_thread((self._folder / job.id / _FILE).unlink)
                job.state, job.error, job.n_bytes = "failed", str(error) or type(error).__name__, 0
            finally:
                self._release(job)
                REQUEST_ID.reset(token)
            if job.id in self._jobs:
                with suppress(OSError):
                    await asyncio.to_thread(self._write, job)
                log.info("job %s is %s", job.id, job.state, extra={"key": job.owner})

    async def _compute(self, job: Job) -> None:
        service = self._service
        if job.id not in self._held:
            await self._load(job)
        served = self._held[job.id]
        body = parse_fields(GenerateRequest, job.request)
        path = self._folder / job.id / _FILE
        while job.id in self._jobs:
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
        raise Conflict("the job was removed")

    async def _fill(self, job: Job, path: Path, served: Served, prepared: Prepared) -> None:
        most, n_bytes = self._service.settings.max_job_bytes, prepared.encoder.size
        job.n_bytes = 0
        digest = sha256()
        pieces = encoded(self._service.sampling, served, prepared.encoder, prepared.blocks)
        try:
            with path.open("wb") as file:
                async for chunks, _ in pieces:
                    if job.id not in self._jobs:
                        raise Conflict("the job was removed")
                    await asyncio.to_thread(_append, file, digest, chunks)
                    job.n_bytes += sum(map(len, chunks))
                    if job.n_bytes > most:
                        raise TooLarge(f"more than {most} bytes; ask for fewer samples, or for npy")
                    job.fraction = job.n_bytes / n_bytes if n_bytes else 0.0
            job.sha256 = digest.hexdigest()
        finally:
            await pieces.aclose()


def _remove_folders(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _append(file: IO[bytes], digest: Any, chunks: Iterable[Chunk]) -> None:
    for chunk in chunks:
        file.write(chunk)
        digest.update(chunk)
