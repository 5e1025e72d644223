"""LitServe: python litserve_app.py PORT"""

from __future__ import annotations

import sys
from typing import Any

import litserve
from fastapi import Response
from sampling import Sampler


class Api(litserve.LitAPI):  # type: ignore[misc]
    """As its documentation has it: decode, predict, encode."""

    def setup(self, device: str) -> None:
        self.sampler = Sampler()

    # Unannotated it is the body's JSON: a type would be looked for in the query.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        return request

    def predict(self, x: dict[str, Any]) -> bytes:
        return self.sampler(x)

    def encode_response(self, output: bytes) -> Response:
        return Response(content=output, media_type="application/x-npy")


if __name__ == "__main__":
    litserve.LitServer(Api(), accelerator="cpu").run(port=int(sys.argv[1]), generate_client_file=False)
