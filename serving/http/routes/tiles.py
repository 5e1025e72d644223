"""Tiles of an endless image, as pictures that a browser may keep: version, seed and place say every pixel."""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from rockbank.generator.windows import PLACE_MAX, tile_shape
from rockbank.rock.crops import to_bytes
from serving.dataplane.cost import bytes_of, n_samples_of_tiles
from serving.dataplane.encode import png
from serving.dataplane.sampling import endless
from serving.http.disconnect import until_disconnect
from serving.http.guard import share_of
from serving.http.responses import about, about_headers
from serving.http.routes.shared import ADMITTED, Name, Version, errors, service_of
from serving.inference.models import CURRENT

router = APIRouter(tags=["samples"], dependencies=[ADMITTED])
_MAX = PLACE_MAX // 1024
Row = Annotated[int, Path(ge=-_MAX, le=_MAX, description="of the tile, in tiles from the origin downwards")]
Column = Annotated[int, Path(ge=-_MAX, le=_MAX, description="of the tile, in tiles from the origin to the right")]
Seed = Annotated[int, Query(ge=0, lt=2**64, description="of the endless image")]
# A key's tiles stay in its browser; whoever shares a cache has not shown one.
_KEPT = {"Cache-Control": "private, max-age=604800, immutable", "Vary": "Authorization, X-API-Key"}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "the tile", "content": {"image/png": {}}},
    **errors(400, 401, 404, 413, 429, 503, 504),
}


@router.get("/v2/models/{name}/versions/{version}/tiles/{row}/{column}", response_class=Response, responses=_RESPONSES)
async def tile(request: Request, name: Name, version: Version, row: Row, column: Column, seed: Seed = 7) -> Response:
    """A tile of the endless image 0 of a seed, as 8-bit PNG; of a loaded version."""
    service = service_of(request)
    served = service.models.find(name, version)
    field = endless(served, seed)
    service.count_samples(n_samples_of_tiles(served.card, 1))
    share_of(request.scope).add(bytes_of(math.prod(tile_shape(served.card)), "png"))
    with served.used():
        with until_disconnect(request.receive):
            image = await service.sampling.tile(served, CURRENT, field, row, column)
        content = await service.sampling.in_thread(lambda: png(to_bytes(image)), image.size + 1)
    headers = about_headers(about(served, seed)) | _KEPT
    return Response(content, media_type="image/png", headers=headers)
