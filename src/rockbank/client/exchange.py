"""What the client says to the server and how it reads the answers, whether it waits or awaits."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
from jaxtyping import Float32

from rockbank.client.errors import ClientError, Unreachable
from rockbank.client.retry import PASSING, RetryPolicy, retry_after
from rockbank.core.errors import InputError

KEY = "ROCKBANK_API_KEY"
# Seconds; of one read, not of a whole stream. Longer than the server's own deadline of a request.
TIMEOUT = 60.0
CONNECT_TIMEOUT = 5.0
FORMATS = {".npy": "npy", ".png": "png", ".zip": "zip", ".tif": "tiff", ".tiff": "tiff", ".json": "json"}
# A value, which is meant give or take the server's tolerance, or an interval; as texts, such as 0.05..0.15, too.
Wanted = float | tuple[float, float] | str
_JSON_LENGTH = "inference-header-content-length"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, which may be made again: none of ours changes anything on the server."""

    method: str
    path: str
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Part:
    """The requested part of all that a seed gives: a part of its endless images, or samples that meet a condition.

    Attributes:
        size: width and height, pixels; the window at (0, 0).
        window: x, y, width and height, pixels; None, like `size`, for samples of the generator's own size.
        porosity: that the samples are to have; None for any.
        specific_surface: likewise, 1/pixel.
    """

    size: tuple[int, int] | None
    window: tuple[int, int, int, int] | None
    porosity: Wanted | None
    specific_surface: Wanted | None

    def row_bytes(self, format_: str) -> int | None:
        """Bytes of a row, where the format has them one after another, row by row; None where it does not."""
        sides = self.size or (self.window and self.window[2:])
        n_bytes = {"npy": 4, "tiff": 1}.get(format_)
        return sides[0] * n_bytes if sides and n_bytes else None


MODELS = Call(method="GET", path="/v2/models")


class Replicas:
    """The servers that a client may ask; all follow one registry, so that they give the same samples.

    Attributes:
        urls: their addresses.
        current: the one that gets the requests now.
    """

    def __init__(self, urls: str | Sequence[str]) -> None:
        """One address or several; the first gets the first request.

        Raises:
            InputError: where there is none, or one is not an address.
        """
        self.urls = tuple(address(url) for url in ([urls] if isinstance(urls, str) else urls))
        if not self.urls:
            raise InputError("no address is given; use one such as http://127.0.0.1:8000, or several")
        self.current = self.urls[0]

    def move(self, failed: str) -> None:
        """Ask the next one from now on, where `failed` is still the current."""
        if failed == self.current:
            self.current = self.urls[(self.urls.index(failed) + 1) % len(self.urls)]


class Tries:
    """Of one call: after each try that failed, how long to wait, or the error to give up with."""

    def __init__(self, call: Call, replicas: Replicas, retry: RetryPolicy) -> None:
        self._call = call
        self._replicas = replicas
        self._retry = retry
        self._n_failed = 0
        self._address = replicas.current

    def begin(self) -> str:
        """The address of the next try."""
        self._address = self._replicas.current
        return self._address

    def after_answer(self, response: httpx.Response) -> float:
        """Seconds to wait after an answer of 400 or above, whose body has been read.

        Raises:
            ClientError: where waiting does not help, or no longer.
        """
        wait = None
        if response.status_code in PASSING:
            wait = self._wait(retry_after(response.headers))
        self._n_failed += 1
        if wait is None:
            raise self._refusal(response)
        return wait

    def after_silence(self, error: httpx.RequestError) -> float:
        """Seconds to wait after a connection that could not be made or that broke.

        Raises:
            Unreachable: where it has happened too often.
        """
        wait = self._wait()
        self._n_failed += 1
        if wait is None:
            reason = str(error) or type(error).__name__
            raise Unreachable(
                f"{self._address}: {reason}, {self._n_failed} times; is the server there ('rockbank serve')?"
            ) from error
        return wait

    def _wait(self, retry_after_seconds: float | None = None) -> float | None:
        """None to give up; nothing as long as there is a server that has not been tried yet."""
        self._replicas.move(self._address)
        if self._n_failed < min(len(self._replicas.urls) - 1, self._retry.retries):
            return 0.0
        return self._retry.wait(self._n_failed, retry_after_seconds)

    def _refusal(self, response: httpx.Response) -> ClientError:
        message, request_id = _message(response)
        tries = f", {self._n_failed} times" if self._n_failed > 1 else ""
        return ClientError(
            f"{self._address}{self._call.path}: {response.status_code}{tries}: {message}",
            status=response.status_code,
            request_id=request_id,
        )


def address(url: str) -> str:
    """A server's address without the slash at its end.

    Raises:
        InputError: where it is none.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InputError(f"'{url}': not an address ({error}); use one such as http://127.0.0.1:8000") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InputError(f"'{url}': not an address; use one such as http://127.0.0.1:8000")
    return url.rstrip("/")


def open_options(key: str | None, timeout: float) -> dict[str, Any]:
    """What httpx's clients are opened with.

    Args:
        key: of the server; None for the environment's ROCKBANK_API_KEY, which is what users of a library expect.
        timeout: seconds.
    """
    key = os.environ.get(KEY) if key is None else key
    if key and not (key.isascii() and key.isprintable()):
        raise InputError("the API key has characters that no header can carry; was it copied whole?")
    headers = {"user-agent": "rockbank-client"}
    if key:
        headers["authorization"] = f"Bearer {key.strip()}"
    return {"headers": headers, "timeout": httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT))}


def generate_call(
    name: str,
    n: int,
    seed: int | None,
    truncation: float | None,
    version: str | None,
    format_: str,
    part: Part,
) -> Call:
    """Ask for `n` samples, those that meet a condition, or for a part of `n` endless images."""
    body = {"n": n, "seed": seed, "truncation": truncation, "format": format_, **asdict(part)}
    return Call(
        method="POST",
        path=f"{model_path(name, version)}/generate",
        content=json.dumps({key: value for key, value in body.items() if value is not None}).encode(),
        headers={"content-type": "application/json"},
    )


def infer_call(name: str, latents: Float32[np.ndarray, "n *latent"], version: str | None) -> Call:
    """Ask for the images of latents, by the Open Inference Protocol with its binary tensors."""
    values = np.ascontiguousarray(latents, dtype="<f4")
    tensor = {
        "name": "latent",
        "shape": list(values.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": values.nbytes},
    }
    wanted = {"name": "image", "parameters": {"binary_data": True}}
    about = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    return Call(
        method="POST",
        path=f"{model_path(name, version)}/infer",
        content=about + values.tobytes(),
        headers={"content-type": "application/octet-stream", _JSON_LENGTH: str(len(about))},
    )


def read_inferred(content: memoryview, headers: Mapping[str, str]) -> Float32[np.ndarray, "n c h w"]:
    """The images of an answer to `infer_call`.

    Raises:
        ClientError: where it is not one.
    """
    try:
        length = int(headers[_JSON_LENGTH])
        (tensor,) = json.loads(bytes(content[:length]))["outputs"]
        shape: Sequence[int] = tensor["shape"]
        return np.frombuffer(content, "<f4", offset=length).reshape(shape)
    except (KeyError, ValueError, TypeError) as error:
        raise ClientError(
            f"the answer is not one of the Open Inference Protocol with binary tensors: {error}"
        ) from error


def read_models(content: memoryview) -> list[dict[str, Any]]:
    """The server's list of models.

    Raises:
        ClientError: where it is none.
    """
    try:
        models: list[dict[str, Any]] = json.loads(bytes(content))
        if all("name" in each for each in models):
            return models
        reason = "a model has no name"
    except (ValueError, TypeError) as error:
        reason = str(error)
    raise ClientError(f"the answer is not a list of models ({reason}); is this a rockbank server?")


def format_of(path: Path) -> str:
    """What the server calls the format that a file's suffix stands for."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise InputError(f"{path}: cannot write '{path.suffix}'; use one of {sorted(FORMATS)}") from None


def model_path(name: str, version: str | None = None) -> str:
    """Where a model, or a version of it, is requested."""
    return f"/v2/models/{quote(name, safe='')}" + ("" if version is None else f"/versions/{quote(version, safe='')}")


def _message(response: httpx.Response) -> tuple[str, str | None]:
    """The server's message and request id; a proxy's page is cut short."""
    request_id = response.headers.get("x-request-id")
    try:
        body = response.json()
        return str(body["error"]), body.get("request_id", request_id)
    except (ValueError, KeyError, TypeError, AttributeError):
        return response.text.strip()[:200] or response.reason_phrase or "no message", request_id
