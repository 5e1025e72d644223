"""MLServer: mlserver start FOLDER, whose model-settings.json names this runtime."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.handlers import custom_handler
from sampling import Sampler
from starlette.requests import Request
from starlette.responses import Response


class Runtime(MLModel):  # type: ignore[misc]
    """A custom runtime with a path of its own: the protocol's answers would be JSON."""

    async def load(self) -> bool:
        self.sampler = Sampler()
        return True

    @custom_handler(rest_path="/predict")  # type: ignore[untyped-decorator]
    async def predict_npy(self, request: Request) -> Response:
        return Response(self.sampler(await request.json()), media_type="application/x-npy")
