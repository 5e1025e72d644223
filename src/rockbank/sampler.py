"""Samples of a pulled generator through its ONNX graph, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from jaxtyping import Float32

from rockbank.card import ONNX, ModelCard
from rockbank.latents import draw_latents
from rockbank.ranges import to_intensity

# 16 images a call cost less per image than 64 on two cores, and bound the memory of a large n.
BATCH = 16


CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Sampler:
    """A generator's ONNX session; the latent is its input, so the caller's seed decides the sample."""

    def __init__(self, folder: Path, card: ModelCard) -> None:
        """Open the graph in `folder`, on a GPU where onnxruntime really gets one, else on the CPU."""
        self._session = open_session(folder / ONNX)
        self._card = card

    @property
    def provider(self) -> str:
        """What the session really runs on; onnxruntime falls back to the CPU without an error."""
        return provider(self._session)

    def sample(self, seed: int, n: int, truncation: float | None = None) -> Float32[np.ndarray, "n c h w"]:
        """`n` samples as intensity in [0, 1]; sample i of a seed does not depend on `n`."""
        return np.concatenate(list(self.batches(seed, n, truncation)))

    def batches(self, seed: int, n: int, truncation: float | None = None) -> Iterator[Float32[np.ndarray, "b c h w"]]:
        """The same samples, `BATCH` at a time."""
        latents = draw_latents(seed, n, self._card.latent_shape, truncation)
        (name,) = (each.name for each in self._session.get_inputs())
        for start in range(0, n, BATCH):
            block = latents[start : start + BATCH]
            # Always a whole batch: in one of another size a kernel may give other last bits.
            whole = np.pad(block, [(0, BATCH - len(block)), *[(0, 0)] * (block.ndim - 1)])
            (image,) = self._session.run(None, {name: whole})
            yield np.clip(to_intensity(np.asarray(image)[: len(block)], self._card.value_range), 0.0, 1.0)


def open_session(
    path: Path, *, threads: int = 0, spinning: bool = True, cuda_graphs: bool = False
) -> onnxruntime.InferenceSession:
    """Open a graph on a GPU where onnxruntime really gets one, else on the CPU.

    Args:
        path: of the ONNX file.
        threads: of one call on the CPU; 0 for one a core.
        spinning: threads wait for their next piece of work in a loop, which takes their cores from everything else.
        cuda_graphs: record the kernels of a call and replay them; then every call has to bind the same memory.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # the missing CUDA libraries of a CPU machine are no news to its user
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    wanted: list[str | tuple[str, dict[str, str]]] = [CPU]
    if has_gpu() and CUDA in onnxruntime.get_available_providers():
        # The wheels of CUDA and cuDNN lie outside the loader's path.
        onnxruntime.preload_dlls()
        # TF32 keeps 10 bits of mantissa, less than the golden sample's tolerance; a search that times the kernels
        # may choose others at each start, and with them other last bits.
        cuda = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC", "enable_cuda_graph": str(int(cuda_graphs))}
        wanted = [(CUDA, cuda), CPU]
    return onnxruntime.InferenceSession(str(path), options, providers=wanted)


def provider(session: onnxruntime.InferenceSession) -> str:
    """What the session really runs on; onnxruntime falls back to the CPU without an error."""
    return str(session.get_providers()[0])


def has_gpu() -> bool:
    """Whether the machine has an NVIDIA GPU with its driver."""
    return Path("/proc/driver/nvidia/version").exists()
