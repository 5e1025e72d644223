"""From a request's words to samples in a format, or to why not."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from jaxtyping import Float32
from starlette.requests import Request
from starlette.responses import Response

from rockbank.generator.card import ONNX
from rockbank.generator.windows import Window
from serving.base.budget import Share
from serving.base.errors import BadRequest, TooLarge
from serving.dataplane.encode import ENCODERS, WHOLE, WINDOW_ENCODERS, Encoder
from serving.dataplane.sampling import encoded, endless
from serving.http.conditioned import conditioned
from serving.http.disconnect import until_disconnect
from serving.http.guard import share_of
from serving.http.responses import Streamed, Whole, about, about_headers
from serving.inference.models import Served
from serving.protocol.schemas import GenerateRequest
from serving.service import Service

# Whole numbers up to here are the same in JavaScript's floats.
_SEED_BITS = 53
# Of one request with a condition: their places are a header, of which proxies take 4 KiB.
_N_CONDITIONED = 512


def draw_seed() -> int:
    """Of a request that has none."""
    return secrets.randbits(_SEED_BITS)


def entity_tag(served: Served, body: GenerateRequest, seed: int) -> str:
    """Names the bytes of an answer: the graph, the seed and the request say every one of them."""
    said = served.name, served.version, served.card.files[ONNX], repr(body.model_copy(update={"seed": seed}))
    return f'"{blake2b(repr(said).encode(), digest_size=16).hexdigest()}"'


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Samples that are about to be computed.

    Attributes:
        origin: by which they can be made again.
        encoder: of their format.
        blocks: of them; closing it stops the computation.
    """

    origin: dict[str, Any]
    encoder: Encoder
    blocks: AsyncGenerator[Any, None]

    @property
    def headers(self) -> dict[str, str]:
        """Of a response that holds them."""
        origin, encoder = self.origin, self.encoder
        name = f"{origin['model']}-{origin['version']}-{origin['seed']}.{encoder.suffix}"
        return {
            "Content-Type": encoder.media_type,
            **about_headers(origin),
            "Content-Disposition": f'inline; filename="{name}"',
        }


async def prepare(
    service: Service,
    body: GenerateRequest,
    served: Served,
    route: str,
    seed: int,
    *,
    request_id: str,
    share: Share,
    n_max: int | None = None,
) -> Prepared:
    """Samples of a request; those that meet a condition are all there afterwards.

    Args:
        service: that computes them.
        body: the request.
        served: by what.
        route: the part that `served` plays, for the counts.
        seed: of the request, or chosen where it has none.
        request_id: which decides whether the shadow computes them too.
        share: of the process's memory, which holds what is computed and not sent yet.
        n_max: how many, at most; None for the settings' of one response.

    Raises:
        BadRequest, TooLarge, Unmet: before anything is computed, or where the condition is met too rarely.
    """
    check_request(service, served, body, n_max or service.settings.max_n)
    origin = about(served, seed)
    encoder: Encoder
    if (window := body.requested_window) is not None:
        service.count_samples(max(1.0, body.n * window.width * window.height / served.n_values))
        shape = (body.n, 1, window.height, window.width)
        encoder = WINDOW_ENCODERS[body.format](shape, served.card.voxel_size, origin)
        blocks = service.sampling.bands(served, route, window, seed=seed, n=body.n, truncation=body.truncation)
    else:
        service.count_samples(body.n)
        # A stream has one block computed, one sent and one ahead.
        is_whole = body.format in WHOLE or body.condition is not None
        n_held = body.n if is_whole else min(body.n, 3 * served.generator.buckets[-1])
        share.add(4 * served.n_values * n_held)
        options: dict[str, Any] = {
            "seed": seed,
            "n": body.n,
            "truncation": body.truncation,
            "request_id": request_id,
            "is_unconditioned": body.seed is None and body.truncation is None,
        }
        if body.condition is None:
            blocks = service.sampling.blocks(served, route, **options)
        else:
            with served.used():
                places, samples = await conditioned(service, served, route, body.condition, **options)
            origin = about(served, seed, places)
            blocks = _whole(samples)
        encoder = ENCODERS[body.format]((body.n, *served.card.image_shape), served.card.voxel_size, origin)
    return Prepared(origin=origin, encoder=encoder, blocks=blocks)


async def respond(
    request: Request,
    service: Service,
    body: GenerateRequest,
    served: Served,
    route: str,
    seed: int,
    caching: Mapping[str, str] | None = None,
) -> Response:
    """The samples of a seed, whose first bytes are there; with `caching` among their headers."""
    # The first samples are there before the status is sent: what may go wrong still has a status of its own.
    with until_disconnect(request.receive):
        prepared = await prepare(
            service, body, served, route, seed, request_id=request.state.request_id, share=share_of(request.scope)
        )
        pieces = encoded(service.sampling, served, prepared.encoder, prepared.blocks)
        try:
            first, is_whole = await anext(pieces)
        except BaseException:
            await pieces.aclose()
            raise
    headers = prepared.headers | {"Accept-Ranges": "none"} | dict(caching or {})
    if is_whole:
        await pieces.aclose()
        return Whole(first, headers)
    if prepared.encoder.size is not None:
        headers["Content-Length"] = str(prepared.encoder.size)
    return Streamed(first, pieces, headers)


def check_request(service: Service, served: Served, body: GenerateRequest, n_max: int) -> None:
    """Refuse what `served` cannot give, or what is more than the settings allow.

    Args:
        n_max: samples, at most.

    Raises:
        BadRequest, TooLarge: with the remedy.
    """
    if (window := body.requested_window) is not None:
        endless(served, 0)
        _check_window(service, body, window)
    else:
        _check_size(service, served, body, n_max)


def _check_size(service: Service, served: Served, body: GenerateRequest, n_max: int) -> None:
    settings = service.settings
    if body.n > n_max:
        raise BadRequest(f"n: got {body.n}; ask for at most {n_max} at once, with several seeds")
    most = max(1, settings.max_buffered_bytes // (4 * served.n_values))
    if body.condition is not None and body.n > min(most, _N_CONDITIONED):
        raise TooLarge(
            f"n: got {body.n} with a {body.condition}; ask for at most {min(most, _N_CONDITIONED)} at once, with "
            "several seeds"
        )
    if body.format in WHOLE and body.n > most:
        raise TooLarge(f"n: got {body.n} for a {body.format}; ask for at most {most}, or for zip, npy or tiff")


def _check_window(service: Service, body: GenerateRequest, window: Window) -> None:
    settings, n_pixels = service.settings, window.width * window.height
    if max(window.width, window.height) > settings.max_side:
        raise BadRequest(
            f"size: got {window.width} x {window.height}; ask for sides of at most {settings.max_side} pixels, "
            "by several windows"
        )
    if body.n * n_pixels > settings.max_side**2:
        raise BadRequest(
            f"n: got {body.n} of {window.width} x {window.height} pixels; ask for at most "
            f"{settings.max_side**2 // n_pixels} at once, with several seeds"
        )
    if body.format not in WINDOW_ENCODERS:
        raise BadRequest(f"format: got {body.format} with a size; ask for one of {sorted(WINDOW_ENCODERS)}")
    most = settings.max_buffered_bytes // 4
    if body.format in WHOLE and (body.n > 1 or n_pixels > most):
        raise TooLarge(
            f"size: got {body.n} of {window.width} x {window.height} pixels as {body.format}; ask for one of at most "
            f"{most} pixels, or for npy or tiff"
        )


async def _whole(samples: Float32[np.ndarray, "n c h w"]) -> AsyncGenerator[Float32[np.ndarray, "n c h w"], None]:
    """Samples that are there, in one block."""
    yield samples
