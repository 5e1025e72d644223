"""Errors of the service; each carries its status code, its place in the counts and its remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rockbank.core.errors import UserError


class ServingError(RuntimeError):
    """What a client reads: what is wrong, the value got, what to do.

    Attributes:
        status: of the HTTP response.
        reason: the label under which `rejections_total` counts it; None where it is not counted as a rejection.
        headers: of the response, besides the usual.
    """

    status = 500
    reason: str | None = None

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.headers = dict(headers or {})


class BadRequest(ServingError):
    """The request says something that cannot be done."""

    status, reason = 400, "bad_request"


class BadKey(ServingError):
    """No key, or one that is not known."""

    status, reason = 401, "bad_key"

    def __init__(self, message: str) -> None:
        super().__init__(message, {"WWW-Authenticate": "Bearer"})


class Forbidden(ServingError):
    """A known key that may not do this, or a signature that does not hold."""

    status, reason = 403, "bad_key"


class NotFound(ServingError):
    """No such model, version or path."""

    status, reason = 404, "bad_request"


class NotAllowed(ServingError):
    """A method that the path does not have."""

    status, reason = 405, "bad_request"


class SlowRequest(ServingError):
    """The body did not arrive in time."""

    status, reason = 408, "deadline"


class NothingToRollBack(ServingError):
    """No previous version is loaded."""

    status, reason = 409, "bad_request"


class Conflict(ServingError):
    """The request does not fit the state that it meets: a job is not done, or a key came with another request."""

    status, reason = 409, "bad_request"


class NotAcceptable(ServingError):
    """No format that is made here is among those that the client accepts."""

    status, reason = 406, "bad_request"


class TooLarge(ServingError):
    """A body or an answer beyond the limits."""

    status, reason = 413, "too_large"


class WrongMediaType(ServingError):
    """A content type or an encoding that is not read."""

    status, reason = 415, "bad_request"


class Misdirected(ServingError):
    """A request for a host that this service does not answer for."""

    status, reason = 421, "foreign"


class Foreign(ServingError):
    """Sent by a web page of another origin."""

    status, reason = 403, "foreign"


class Unmet(ServingError):
    """A condition on samples that the rock does not meet, or the generator too rarely."""

    status, reason = 422, "unmet"


class QueueFull(ServingError):
    """More samples are waiting than the queue takes."""

    status, reason = 429, "queue_full"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message, {"Retry-After": str(max(1, math.ceil(retry_after)))})


class RateLimited(QueueFull):
    """A key has used up its requests of this minute."""

    reason = "rate_limit"


class TooManyAtOnce(QueueFull):
    """A key, or an address, has as many requests under way as it may."""

    reason = "concurrency"


class HeadersTooLarge(ServingError):
    """Header lines beyond the limit."""

    status, reason = 431, "too_large"


class NotReady(ServingError):
    """The model is not loaded, or the service is stopping."""

    status, reason = 503, "not_ready"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message, {"Retry-After": str(max(1, math.ceil(retry_after)))})


class Busy(NotReady):
    """The process holds as much as it may: of memory, or of connections."""

    reason = "busy"


class DeadlineExceeded(ServingError):
    """The samples were not ready in time."""

    status, reason = 504, "deadline"


class TimedOut(ServingError):
    """The samples were not ready in the time that the request itself set, which is less than the service's."""

    status, reason = 408, "deadline"


class ClientGone(ServingError):
    """Nobody is there to answer; for the log and the counts alone."""

    status, reason = 499, "client_gone"


class LoadRefused(UserError, RuntimeError):
    """A version may not be served: its files, its provider or its golden sample do not hold.

    Attributes:
        reason: the label under which `load_failures_total` counts it.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class NothingToServe(UserError, RuntimeError):
    """No configured model could be loaded at start."""
