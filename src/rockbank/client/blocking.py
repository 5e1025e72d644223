"""The client that waits."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np
from jaxtyping import Float32

from rockbank.client import exchange, jobs
from rockbank.client.errors import ClientError
from rockbank.client.jobs import Download, Job
from rockbank.client.retry import RetryPolicy, choose_policy
from rockbank.client.samples import Blocks, Body, Origin, Progress, Samples, read_origin, read_samples
from rockbank.core.files import replacing


class Client:
    """Generated rock from a server; its connections are kept open between requests, and threads may share it."""

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        key: str | None = None,
        timeout: float = exchange.TIMEOUT,
        retry: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
        patience: RetryPolicy | None = None,
    ) -> None:
        """Open a client; no request is made yet.

        Args:
            url: such as http://127.0.0.1:8000; of several replicas, those after the first get a request where
                one before does not answer.
            key: for a server that wants one; None for the environment's ROCKBANK_API_KEY, if it is there.
            timeout: seconds without a byte after which a connection counts as broken.
            retry: how often and after how long a request is made again.
            transport: httpx's, for what its own cannot do.
            patience: the old name of `retry`; deprecated.
        """
        self._replicas = exchange.Replicas(url)
        self._retry = choose_policy(retry, patience)
        self._http = httpx.Client(transport=transport, **exchange.open_options(key, timeout))

    @property
    def url(self) -> str:
        """The server that gets the requests now."""
        return self._replicas.current

    def models(self) -> list[dict[str, Any]]:
        """Every served model: its versions, aliases and scores."""
        return exchange.read_models(self._read(exchange.MODELS)[0])

    def generate(
        self,
        name: str,
        n: int = 1,
        seed: int | None = None,
        truncation: float | None = None,
        version: str | None = None,
        *,
        size: tuple[int, int] | None = None,
        window: tuple[int, int, int, int] | None = None,
        porosity: exchange.Wanted | None = None,
        specific_surface: exchange.Wanted | None = None,
        progress: Progress | None = None,
    ) -> Samples:
        """`n` samples; the same seed of the same version gives the same samples.

        Args:
            name: of the model, such as shale.
            n: how many.
            seed: None lets the server draw one, which the samples name.
            truncation: scale of the latent; below 1, more typical.
            version: None for the one that the server's alias names.
            size: width and height in pixels, of images of an endless generator; None for its own size.
            window: x, y, width and height in pixels of the seed's endless images, in place of a size.
            porosity: of the samples that are wanted, such as 0.12, which means 0.11 to 0.13, or (0.05, 0.15): the first
                `n` of the seed that have it, whose `places` among all of its samples they carry.
            specific_surface: likewise, 1/pixel; one of both.
            progress: called with the count of samples that have come, or of rows where a size or a window is given.

        Raises:
            ClientError: with the server's own words; Unreachable where it does not answer.
        """
        part = exchange.Part(size=size, window=window, porosity=porosity, specific_surface=specific_surface)
        call = exchange.generate_call(name, n, seed, truncation, version, "npy", part)
        content, headers = self._read(call, progress, part.row_bytes("npy"))
        return read_samples(headers, content)

    def stream(
        self,
        name: str,
        n: int = 1,
        seed: int | None = None,
        truncation: float | None = None,
        version: str | None = None,
        *,
        progress: Progress | None = None,
    ) -> Iterator[Samples]:
        """The samples of `generate` in blocks, as they come; memory does not grow with `n`.

        Where the connection breaks, the next replica goes on with the same seed and version from the first sample that
        was not whole. The arguments, and what is raised, are as for `generate`.
        """
        part = exchange.Part(size=None, window=None, porosity=None, specific_surface=None)
        call = exchange.generate_call(name, n, seed, truncation, version, "npy", part)
        tries, blocks = exchange.Tries(call, self._replicas, self._retry), Blocks(progress)
        while True:
            try:
                with self._http.stream(
                    call.method, tries.begin() + call.path, content=call.content, headers=call.headers
                ) as response:
                    if response.is_success:
                        origin = read_origin(response.headers)
                        # What goes on after a break is the same samples.
                        call = exchange.generate_call(name, n, origin.seed, truncation, origin.version, "npy", part)
                        blocks.begin()
                        for chunk in response.iter_bytes():
                            if (array := blocks.feed(chunk)) is not None:
                                yield Samples.of(origin, array)
                        return
                    response.read()
            except httpx.RequestError as error:
                wait = tries.after_silence(error)
            else:
                wait = tries.after_answer(response)
            time.sleep(wait)

    def infer(
        self, name: str, latents: Float32[np.ndarray, "n *latent"], version: str | None = None
    ) -> Float32[np.ndarray, "n c h w"]:
        """The images of latents in the network's own range, as the graph gives them.

        Raises:
            ClientError: with the server's own words; Unreachable where it does not answer.
        """
        return exchange.read_inferred(*self._read(exchange.infer_call(name, latents, version)))

    def save(
        self,
        path: Path,
        name: str,
        n: int = 1,
        seed: int | None = None,
        truncation: float | None = None,
        version: str | None = None,
        *,
        size: tuple[int, int] | None = None,
        window: tuple[int, int, int, int] | None = None,
        porosity: exchange.Wanted | None = None,
        specific_surface: exchange.Wanted | None = None,
        progress: Progress | None = None,
    ) -> Origin:
        """Stream `n` samples to a file, whole or not at all; memory does not grow with `n`.

        Args:
            path: its suffix says what: .npy, .png (a grid), .zip (a picture each), .tif (pages) or .json.

        The other arguments, and what is raised, are as for `generate`; only an array's samples are counted, and
        the rows of an array or a TIFF of any size.
        """
        format_ = exchange.format_of(path)
        part = exchange.Part(size=size, window=window, porosity=porosity, specific_surface=specific_surface)
        call = exchange.generate_call(name, n, seed, truncation, version, format_, part)
        with replacing(path) as beside, beside.open("wb") as file:
            headers = self._fetch(call, Body(file, progress, part.row_bytes(format_)))
        return read_origin(headers)

    def submit(
        self,
        name: str,
        n: int,
        seed: int | None = None,
        truncation: float | None = None,
        *,
        format: str = "npy",
    ) -> Job:
        """Have a large number of samples computed behind the requests of others; `wait` and `download` follow.

        Args:
            name: of the model, such as shale.
            n: how many.
            seed: None lets the server draw one, which the job names.
            truncation: scale of the latent; below 1, more typical.
            format: of the file, npy or tiff.

        Raises:
            ClientError: with the server's own words; Unreachable where it does not answer.
        """
        return self._job(jobs.submit_call(name, n, seed, truncation, format))

    def wait(self, job: Job, progress: jobs.Followed | None = None) -> Job:
        """The job when it is done.

        Args:
            job: that `submit` gave.
            progress: called with the fraction that is computed, whenever it has grown.

        Raises:
            ClientError: where it failed, or is no longer there.
        """
        seen = 0.0
        while True:
            job = self._job(jobs.status_call(job), exchange.Replicas(job.url))
            if progress is not None and job.fraction > seen:
                seen = job.fraction
                progress(seen)
            if job.is_done:
                return job
            time.sleep(jobs.POLL_SECONDS)

    def download(self, job: Job, path: Path, progress: Progress | None = None) -> Origin:
        """Write the samples of a job that is done to a file, whole or not at all, and hold it against its SHA-256.

        After a broken connection the download goes on where it broke off.

        Args:
            job: that `wait` gave.
            path: of the file.
            progress: called with the count of bytes that have come.

        Raises:
            ClientError: with the server's own words, or where the bytes are not the server's; Unreachable where it does
                not answer.
        """
        if not job.is_done:
            raise ClientError(f"the job {job.id} is {job.state}; wait for it first")
        with replacing(path) as beside, beside.open("wb") as file:
            body = Download(file, progress)
            headers = self._fetch(jobs.result_call(job), body, exchange.Replicas(job.url))
            body.check(job)
        return read_origin(headers)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _read(
        self, call: exchange.Call, progress: Progress | None = None, row_bytes: int | None = None
    ) -> tuple[memoryview, httpx.Headers]:
        file = BytesIO()
        headers = self._fetch(call, Body(file, progress, row_bytes))
        return file.getbuffer(), headers

    def _job(self, call: exchange.Call, replicas: exchange.Replicas | None = None) -> Job:
        file = BytesIO()
        body = Body(file)
        self._fetch(call, body, replicas)
        return jobs.read_job(file.getbuffer(), body.address)

    def _fetch(
        self, call: exchange.Call, body: Body | Download, replicas: exchange.Replicas | None = None
    ) -> httpx.Headers:
        """Make the call until it is answered; the answer's headers, when its body is whole."""
        tries = exchange.Tries(call, replicas or self._replicas, self._retry)
        while True:
            address = tries.begin()
            try:
                with self._http.stream(
                    call.method, address + call.path, content=call.content, headers={**call.headers, **body.headers()}
                ) as response:
                    if response.is_success:
                        body.begin(address, response)
                        for chunk in response.iter_bytes():
                            body.write(chunk)
                        return response.headers
                    response.read()
            except httpx.RequestError as error:
                wait = tries.after_silence(error)
            else:
                wait = tries.after_answer(response)
            time.sleep(wait)
