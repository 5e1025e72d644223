"""What can go wrong between the client and its server."""

from __future__ import annotations

from rockbank.core.errors import UserError


class ClientError(UserError, RuntimeError):
    """The server refused a request, or answered with what cannot be read.

    Attributes:
        status: HTTP's; None where there is none.
        request_id: in the server's logs.
    """

    def __init__(self, message: str, *, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id


class Unreachable(ClientError):
    """The server did not answer, or fell silent within its answer."""
