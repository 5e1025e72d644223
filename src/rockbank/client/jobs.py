"""Jobs: samples in large numbers, computed behind the requests of others and fetched when they are there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

import httpx

from rockbank.client.errors import ClientError
from rockbank.client.exchange import Call, model_path

# Seconds between two looks at a job.
POLL_SECONDS = 0.5
Followed = Callable[[float], None]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Where a job stands.

    Attributes:
        url: of the server that has it; its replicas do not.
        id: of the job, which nobody guesses.
        model: that samples.
        version: of it.
        seed: of the samples; chosen by the server where none was given.
        state: queued, running, done or failed.
        fraction: of its samples that are computed.
        error: why it failed; None where it did not.
        sha256: of the result, in hexadecimal, once it is done.
    """

    url: str
    id: str
    model: str
    version: str
    seed: int
    state: str
    fraction: float
    error: str | None
    sha256: str | None

    @property
    def is_done(self) -> bool:
        """Whether its result is there.

        Raises:
            ClientError: where it will never be.
        """
        if self.state == "failed":
            raise ClientError(f"{self.url}: the job {self.id} failed: {self.error}; send it again")
        return self.state == "done"


def submit_call(name: str, n: int, seed: int | None, truncation: float | None, format_: str) -> Call:
    """Ask for a job; one whose answer was lost on its way is computed for nobody."""
    body = {"n": n, "seed": seed, "truncation": truncation, "format": format_}
    return Call(
        method="POST",
        path=f"{model_path(name)}/jobs",
        content=json.dumps({key: value for key, value in body.items() if value is not None}).encode(),
        headers={"content-type": "application/json"},
    )


def status_call(job: Job) -> Call:
    """Ask where a job stands."""
    return Call(method="GET", path=f"/v2/jobs/{job.id}")


def result_call(job: Job) -> Call:
    """Ask for its samples."""
    return Call(method="GET", path=f"/v2/jobs/{job.id}/result")


def read_job(content: memoryview, url: str) -> Job:
    """The job in an answer of the server at `url`.

    Raises:
        ClientError: where there is none.
    """
    try:
        about = json.loads(bytes(content))
        return Job(url=url, **{name: about[name] for name in Job.__dataclass_fields__ if name != "url"})
    except (ValueError, KeyError, TypeError) as error:
        raise ClientError(
            f"{url}: the answer is not a job ({error}); is this a rockbank server of this version?"
        ) from error


class Download:
    """A result on its way into a file: after a broken connection it goes on where it broke off.

    Attributes:
        address: of the server that answered.
    """

    def __init__(self, file: IO[bytes], progress: Callable[[int], None] | None = None) -> None:
        """Write to `file`; call `progress` with the count of bytes that have come so far."""
        self._file = file
        self._progress = progress
        self._n = 0
        self._tag: str | None = None
        self._digest = hashlib.sha256()
        self.address = ""

    def headers(self) -> dict[str, str]:
        """The headers that ask for the rest, if it is still the rest of the same."""
        rest = {"range": f"bytes={self._n}-", "if-range": self._tag} if self._n and self._tag else {}
        return {"accept-encoding": "identity"} | rest

    def begin(self, address: str, response: httpx.Response) -> None:
        """The rest comes, or all of it anew."""
        self.address, self._tag = address, response.headers.get("etag")
        if response.status_code == httpx.codes.PARTIAL_CONTENT:
            got = response.headers.get("content-range", "")
            if not got.startswith(f"bytes {self._n}-"):
                raise ClientError(f"{address}: wanted the bytes from {self._n} on, got '{got[:60]}'")
            return
        self._file.seek(0)
        self._file.truncate()
        self._n, self._digest = 0, hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._file.write(chunk)
        self._digest.update(chunk)
        self._n += len(chunk)
        if self._progress is not None:
            self._progress(self._n)

    def check(self, job: Job) -> None:
        """Hold what has come against the job's SHA-256.

        Raises:
            ClientError: where it is not that.
        """
        if (got := self._digest.hexdigest()) != job.sha256:
            raise ClientError(
                f"{job.url}: the result of the job {job.id} has {self._n} bytes with the SHA-256 {got}, where the "
                f"server has {job.sha256}; fetch it again"
            )
