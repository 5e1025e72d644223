"""For operators: metrics, the registry's webhook, rollback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.base.errors import Forbidden
from serving.base.logs import log
from serving.http.bodies import read_body
from serving.http.routes.shared import ADMIN, Name, errors, service_of

router = APIRouter(tags=["operation"])
# What is older may have been recorded and sent again.
_SIGNED_SECONDS = 300
# Of a webhook: it is read before anybody knows who sent it.
_MAX_SIGNED_BYTES = 256 * 1024
_METRICS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Prometheus' text format",
        "content": {"text/plain": {"schema": {"type": "string"}}, "application/openmetrics-text": {}},
    },
    **errors(),
}


@router.get("/metrics", response_class=Response, responses=_METRICS)
async def metrics(request: Request) -> Response:
    """What Prometheus scrapes."""
    content, media_type = await service_of(request).scrapes.text(request.headers.get("accept", ""))
    return Response(content, headers={"Content-Type": media_type})


@router.post("/v2/models/{name}/rollback", dependencies=[ADMIN], responses=errors(400, 401, 403, 404, 409, 429))
async def rollback(request: Request, name: Name) -> dict[str, str]:
    """Have the previous version answer at once; the version rolled back from stays away until the alias moves."""
    service = service_of(request)
    served = service.models.rollback(name)
    await service.follower.note(name)
    log.warning("%s was rolled back to version %s", name, served.version, extra={"key": request.state.key_name})
    return {"model": name, "version": served.version}


@router.post("/v2/repository/poll", dependencies=[ADMIN], status_code=202, responses=errors(401, 403, 429))
async def poll(request: Request) -> dict[str, bool]:
    """Read the aliases now."""
    service_of(request).follower.poll_now()
    return {"polled": True}


@router.post("/webhooks/registry", status_code=202, responses=errors(403, 408, 413, 415))
async def webhook(request: Request) -> dict[str, bool]:
    """MLflow's webhook: the aliases are read now, whatever it says; its signature has to hold."""
    service = service_of(request)
    secret = service.settings.webhook_secret
    if secret is None:
        raise Forbidden("the webhook is off; set ROCKBANK_WEBHOOK_SECRET here and as the webhook's secret in MLflow")
    body = await read_body(request, service.settings, _MAX_SIGNED_BYTES)
    delivery, moment = request.headers.get("x-mlflow-delivery-id", ""), request.headers.get("x-mlflow-timestamp", "")
    signed = f"{delivery}.{moment}.".encode("latin-1", "replace") + body
    digest = hmac.new(secret.get_secret_value().encode(), signed, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    given = request.headers.get("x-mlflow-signature", "").encode("latin-1", "replace")
    if not hmac.compare_digest(expected, given):
        raise Forbidden("the signature does not hold; sign with ROCKBANK_WEBHOOK_SECRET as MLflow's webhooks do")
    if not moment.isdigit() or abs(time.time() - int(moment)) > _SIGNED_SECONDS:
        raise Forbidden(f"the signature is of '{moment[:20]}'; send within {_SIGNED_SECONDS} s, with a right clock")
    service.follower.poll_now()
    return {"polled": True}
