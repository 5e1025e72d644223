"""BentoML: bentoml serve bentoml_app:Samples --port PORT"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType
from sampling import Sampler


@bentoml.service(workers=1, traffic={"timeout": 60})
class Samples:
    """One worker, as the service has one process."""

    def __init__(self) -> None:
        self.sampler = Sampler()

    @bentoml.api
    def predict(self, seed: int, n: int, ctx: bentoml.Context) -> Annotated[Path, ContentType("application/x-npy")]:
        """A file is BentoML's way to answer with bytes."""
        path = Path(ctx.temp_dir) / "samples.npy"
        path.write_bytes(self.sampler({"seed": seed, "n": n}))
        return path
