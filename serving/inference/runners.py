"""One run of an onnxruntime session: latents of a batch in, images out."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32

from rockbank.generator.card import INPUT, OUTPUT, ModelCard


class Runner(Protocol):
    """Runs one bucket: latents of its full size in, images out."""

    def __call__(self, latents: Float32[np.ndarray, "b *latent"]) -> Float32[np.ndarray, "b c h w"]: ...


def plain_runner(session: Any, *, without_graph: bool = False) -> Runner:
    """Runs batches of any size, from and to the processor's memory.

    Args:
        session: of onnxruntime.
        without_graph: leave the session's CUDA graphs alone.
    """
    import onnxruntime

    options = onnxruntime.RunOptions()
    if without_graph:
        # What is captured can be replayed for the extent only that it was captured with.
        options.add_run_config_entry("gpu_graph_id", "-1")

    def run(latents: Float32[np.ndarray, "b *latent"]) -> Float32[np.ndarray, "b c h w"]:
        (image,) = session.run([OUTPUT], {INPUT: latents}, options)
        return np.asarray(image)

    return run


def bound_runner(session: Any, card: ModelCard, bucket: int, device: str, cuda_graphs: bool) -> Runner:
    """Runs batches of one size; input and output lie in the device's memory, allocated once as a CUDA graph needs."""
    import onnxruntime

    allocate = onnxruntime.OrtValue.ortvalue_from_shape_and_type
    latents_there = allocate((bucket, *card.latent_shape), np.float32, device, 0)
    images_there = allocate((bucket, *card.image_shape), np.float32, device, 0)
    binding = session.io_binding()
    binding.bind_ortvalue_input(INPUT, latents_there)
    binding.bind_ortvalue_output(OUTPUT, images_there)
    options = onnxruntime.RunOptions()
    if cuda_graphs:
        options.add_run_config_entry("gpu_graph_id", str(bucket))

    def run(latents: Float32[np.ndarray, "b *latent"]) -> Float32[np.ndarray, "b c h w"]:
        latents_there.update_inplace(np.ascontiguousarray(latents))
        binding.synchronize_inputs()
        session.run_with_iobinding(binding, options)
        binding.synchronize_outputs()
        images = np.asarray(images_there.numpy())
        # The next batch is computed into the same memory: from a GPU numpy() is a copy of it, on the CPU a view.
        return images.copy() if device == "cpu" else images

    return run
