"""How a version is computed, as Triton's configuration says it."""

from __future__ import annotations

import math

from rockbank.generator.card import INPUT, OUTPUT, ModelCard
from serving.base.settings import Settings
from serving.inference.session import Generator, dynamic_shapes
from serving.protocol.triton import DynamicBatching, InstanceGroup, ModelConfig, TensorConfig


def configuration(settings: Settings, name: str, card: ModelCard, generator: Generator) -> ModelConfig:
    """That of a version of the model `name`."""
    latent, image = dynamic_shapes(card)
    kind = "KIND_GPU" if generator.provider.startswith("CUDA") else "KIND_CPU"
    return ModelConfig(
        name=name,
        max_batch_size=max(1, min(settings.max_n, settings.max_buffered_bytes // (4 * math.prod(card.image_shape)))),
        input=[TensorConfig(name=INPUT, data_type="TYPE_FP32", dims=latent[1:])],
        output=[TensorConfig(name=OUTPUT, data_type="TYPE_FP32", dims=image[1:])],
        dynamic_batching=DynamicBatching(
            preferred_batch_size=list(generator.buckets),
            max_queue_delay_microseconds=round(1000 * settings.max_wait_ms),
        ),
        instance_group=[InstanceGroup(name=name, kind=kind, count=1)],
    )
