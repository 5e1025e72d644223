"""Triton's server, as PyTriton brings it with a model in Python: python triton_app.py PORT"""

from __future__ import annotations

import sys

import numpy as np
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from sampling import Sampler


def main(port: int) -> None:
    """Serve until it is stopped."""
    sampler = Sampler()

    # Unannotated they are PyTriton's own lists of dictionaries.
    def infer(requests):  # type: ignore[no-untyped-def]
        return [{"images": sampler.images(int(each["seed"][0]), int(each["n"][0]))} for each in requests]

    config = TritonConfig(
        http_address="127.0.0.1", http_port=port, allow_grpc=False, allow_metrics=False, log_verbose=0
    )
    numbers = [Tensor(name=name, dtype=np.int64, shape=(1,)) for name in ("seed", "n")]
    images = Tensor(name="images", dtype=np.float32, shape=(-1, *sampler.image_shape))
    with Triton(config=config) as triton:
        triton.bind("rock", infer, inputs=numbers, outputs=[images], config=ModelConfig(batching=False))
        triton.serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
