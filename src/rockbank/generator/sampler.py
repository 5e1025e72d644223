"""Samples of a pulled generator through its ONNX graph, without torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from jaxtyping import Float32

from rockbank.generator.card import ONNX, CardMismatch, ModelCard
from rockbank.generator.latents import latent_blocks
from rockbank.generator.ranges import to_intensity
from rockbank.generator.windows import Window, bands, field_of

# 16 images a call cost less per image than 64 on two cores, and bound the memory of a large n.
BATCH = 16
# No folder can be there.
_NOWHERE = f"{os.devnull}/none"
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Sampler:
    """A generator's ONNX session; the latent is its input, so the caller's seed decides the sample."""

    def __init__(self, folder: Path, card: ModelCard, *, threads: int = 0) -> None:
        """Open the graph in `folder`, on a GPU where onnxruntime really gets one, else on the CPU.

        Args:
            folder: of the generator.
            card: of its files.
            threads: of one call on the CPU; 0 for one a core.

        Raises:
            CardMismatch: where it is not the card's, or onnxruntime cannot open it.
        """
        graph = card.read(folder, ONNX)
        try:
            self._session = open_session(graph, threads=threads)
        # onnxruntime's own errors have no other base in common.
        except Exception as error:
            raise CardMismatch(
                f"{folder / ONNX}: onnxruntime cannot open it: {str(error)[:300]}; export the generator again"
            ) from error
        self._card = card

    @property
    def provider(self) -> str:
        """What the session really runs on; onnxruntime falls back to the CPU without an error."""
        return provider(self._session)

    def sample(self, seed: int, n: int, truncation: float | None = None) -> Float32[np.ndarray, "n c h w"]:
        """`n` samples as intensity in [0, 1]; sample i of a seed does not depend on `n`."""
        return np.concatenate(list(self.batches(seed, n, truncation)))

    def batches(
        self, seed: int, n: int, truncation: float | None = None, *, begin: int = 0
    ) -> Iterator[Float32[np.ndarray, "b c h w"]]:
        """The same samples, `BATCH` at a time; from the sample `begin` on, a multiple of that."""
        card = self._card
        for block in latent_blocks(
            seed, n, card.latent_shape, truncation, size=BATCH, begin=begin, lattice=card.lattice
        ):
            # Always a whole batch: in one of another size a kernel may give other last bits.
            whole = np.pad(block, [(0, BATCH - len(block)), *[(0, 0)] * (block.ndim - 1)])
            yield self._intensity(whole)[: len(block)]

    def window(
        self,
        seed: int,
        window: Window,
        sample: int = 0,
        truncation: float | None = None,
        *,
        on_tile: Callable[[], None] = lambda: None,
    ) -> Iterator[Float32[np.ndarray, "rows width"]]:
        """A window of the endless image `sample` of a seed, as intensity in [0, 1], rows of tiles at a time.

        Two windows have the same bits where they overlap, on one machine; see `rockbank.generator.windows`. Sample k
        without a window is the window at (0, 0) of the image k, up to the last bits: its call has another extent.

        Args:
            seed: of the image.
            window: what of it.
            sample: which of the seed's images.
            truncation: scale of the latents.
            on_tile: called for each tile that is computed.

        Raises:
            InputError: where the generator is not endless, before anything is computed.
        """
        field = field_of(self._card, seed, sample, truncation)

        def computed() -> Iterator[Float32[np.ndarray, "rows width"]]:
            for tiles in bands(window, field.lattice):
                band = np.empty((tiles[0].rows.stop - tiles[0].rows.start, window.width), dtype=np.float32)
                for tile in tiles:
                    image = self._intensity(field.of_tile(tile.row, tile.column))[0, 0, tile.rows, tile.columns]
                    band[:, tile.left : tile.left + image.shape[1]] = image
                    on_tile()
                yield band

        return computed()

    def _intensity(self, latents: Float32[np.ndarray, "b *latent"]) -> Float32[np.ndarray, "b c h w"]:
        (name,) = (each.name for each in self._session.get_inputs())
        (image,) = self._session.run(None, {name: latents})
        return np.asarray(np.clip(to_intensity(np.asarray(image), self._card.value_range), 0.0, 1.0))


def open_session(
    model: Path | bytes, *, threads: int = 0, spinning: bool = True, cuda_graphs: bool = False
) -> onnxruntime.InferenceSession:
    """Open a graph on a GPU where onnxruntime really gets one, else on the CPU.

    Args:
        model: the ONNX file, or what is in it: its bytes have been compared with a card, a file may have changed since.
        threads: of one call on the CPU; 0 for one a core.
        spinning: threads wait for their next piece of work in a loop, which takes their cores from everything else.
        cuda_graphs: record the kernels of a call and replay them; then every call has to bind the same memory.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # the missing CUDA libraries of a CPU machine are no news to its user
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    # Our graphs are whole. Weights outside of one would be read from the working folder, whatever lies there.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NOWHERE)
    wanted: list[str | tuple[str, dict[str, str]]] = [CPU]
    if has_gpu() and CUDA in onnxruntime.get_available_providers():
        # The wheels of CUDA and cuDNN lie outside the loader's path.
        onnxruntime.preload_dlls()
        # TF32 keeps 10 bits of mantissa, less than the golden sample's tolerance; a search that times the kernels
        # may choose others at each start, and with them other last bits.
        cuda = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC", "enable_cuda_graph": str(int(cuda_graphs))}
        wanted = [(CUDA, cuda), CPU]
    return onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=wanted)


def provider(session: onnxruntime.InferenceSession) -> str:
    """What the session really runs on; onnxruntime falls back to the CPU without an error."""
    return str(session.get_providers()[0])


def has_gpu() -> bool:
    """Whether the machine has an NVIDIA GPU with its driver."""
    return Path("/proc/driver/nvidia/version").exists()
