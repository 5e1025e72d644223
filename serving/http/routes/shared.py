"""What every endpoint shares: its service, its keys, and its errors' documentation."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Request

from serving.base.clients import CLIENT
from serving.base.errors import Forbidden
from serving.keys import Key
from serving.protocol.schemas import Error
from serving.service import Service

Name = Annotated[str, Path(description="a registered model, such as shale", max_length=256)]
Version = Annotated[str, Path(description="one of its loaded versions", max_length=64)]

_ABOUT = {
    400: "the request says something that cannot be done",
    401: "no key, or one that is not known",
    403: "the key may not do this, or a page of another site has sent it",
    404: "no such model or version is loaded",
    405: "the path has no such method",
    408: "the body did not come in time, or the samples not in the time that the request gives them",
    406: "no format among those that are accepted",
    409: "it does not fit what is there: no previous version, a job that is not done, an id that was used otherwise",
    416: "a range beyond the end",
    413: "more than the limits allow",
    415: "a content type or encoding that is not read",
    421: "for a host that is not this service",
    422: "no rock has what is wanted, or the generator gives too little of it",
    429: "the queue is full, or the key's rate is used up; see Retry-After",
    431: "too many bytes of headers",
    503: "not loaded yet, or about to stop; see Retry-After",
    504: "the samples were not ready in time",
}


_EVERYWHERE = (400, 403, 405, 421, 431)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of an endpoint for its OpenAPI document; those of every endpoint are among them."""
    return {status: {"model": Error, "description": _ABOUT[status]} for status in sorted({*statuses, *_EVERYWHERE})}


def service_of(request: Request) -> Service:
    """The service that answers."""
    service: Service = request.app.state.service
    return service


async def admit(request: Request) -> Key:
    """Whose request this is, counted against its rate.

    Raises:
        BadKey, RateLimited, TooManyAtOnce: before anything of the body is read.
    """
    service = service_of(request)
    key = service.keys.check(_given(request))
    request.state.key_name = key.name
    client = service.keys.client(key, request.client.host if request.client else "")
    service.keys.begin(client)
    # The guard ends it when it is answered.
    request.state.client = client
    CLIENT.set(client)
    return key


async def admit_admin(request: Request) -> Key:
    """The same, for what only an admin may do."""
    # Written down whether it is allowed or not.
    request.state.is_admins = True
    key = await admit(request)
    if key.role != "admin":
        raise Forbidden(f"the key '{key.name}' is a user's; this takes an admin's")
    return key


ADMITTED, ADMIN = Depends(admit), Depends(admit_admin)


def _given(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("x-api-key")
