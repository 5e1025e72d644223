"""Feature extractors: callables from images to vectors, named so that no two of them are ever mixed up."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt, UInt8
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.nn.functional import interpolate

from rockbank.core.errors import InputError
from rockbank.core.files import sha256
from rockbank.efficientnet import VARIANTS, ExtractorUnavailable, load_efficientnet
from rockbank.params import EXTRACTORS
from rockbank.rock.crops import to_bytes, to_intensity

# Small images are enlarged to this many pixels on their longer side: 64 x 64 ones would leave the
# last layers 2 x 2 pixels. 128 gives 130 images a second on one core, 224 a third of that.
EFFICIENTNET_SIDE = 128


@dataclass(frozen=True)
class Extractor:
    """Images to features.

    Attributes:
        name: network, layer, resizing and start of the weights' SHA-256; stands beside every score.
        embed: (n, 3, h, w) bytes to (n, d) features.
        device: where `embed` computes.
    """

    name: str
    embed: Callable[[Tensor], Tensor]
    device: torch.device

    def __call__(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """Features of `images`, float32 on the CPU."""
        with torch.inference_mode():
            return self.embed(images.to(self.device)).float().cpu()


def make_extractor(name: str, inception_weights: Path | None = None, device: str = "cpu") -> Extractor:
    """The extractor that params.yaml calls `name`.

    Args:
        name: "efficientnet-lite0", "efficientnet-lite2" or "inception".
        inception_weights: torch-fidelity's converted InceptionV3 weights; None downloads them.
        device: of torch, such as "cuda".

    Raises:
        InputError: for an unknown name.
        ExtractorUnavailable: where the weights cannot be had, or are not those expected.
    """
    if name not in EXTRACTORS:
        raise InputError(f"no extractor '{name}'; known are {list(EXTRACTORS)}")
    if name == "inception":
        return _inception(inception_weights or _download_inception(), torch.device(device))
    return _efficientnet(name, torch.device(device))


def as_images(
    rock: Float[np.ndarray, "n c h w"] | UInt[np.ndarray, "n c h w"],
) -> UInt8[Tensor, "n 3 h w"]:
    """Rock as the RGB bytes that extractors read: one channel becomes three equal ones, three are taken as they are.

    Args:
        rock: intensity in [0, 1], or unsigned integers whose full scale is 1.

    Raises:
        InputError: for a number of channels other than 1 and 3.
    """
    if rock.ndim != 4 or rock.shape[1] not in (1, 3):
        raise InputError(f"images of shape {rock.shape}; extractors need (n, 1, h, w) or (n, 3, h, w)")
    intensity = to_intensity(rock) if np.issubdtype(rock.dtype, np.unsignedinteger) else rock
    images = torch.from_numpy(to_bytes(intensity))
    return images.expand(-1, 3, -1, -1)


def features(
    rock: Float[np.ndarray, "n c h w"] | UInt[np.ndarray, "n c h w"],
    extractor: Extractor,
    batch: int = 32,
    progress: str | None = None,
) -> Float[Tensor, "n d"]:
    """Features of every image.

    Args:
        rock: as for as_images.
        extractor: from make_extractor.
        batch: images embedded at once.
        progress: what a bar on stderr says while it goes; None shows none.
    """
    bar = Progress(console=Console(file=sys.stderr), transient=True, disable=progress is None)
    parts = []
    with bar:
        task = bar.add_task(progress or "", total=len(rock))
        for start in range(0, len(rock), batch):
            parts.append(extractor(as_images(rock[start : start + batch])))
            bar.advance(task, len(parts[-1]))
    return torch.cat(parts)


def _efficientnet(name: str, device: torch.device) -> Extractor:
    variant = name.removeprefix("efficientnet-")
    network = load_efficientnet(variant).to(device)

    def embed(images: Tensor) -> Tensor:
        x = (images.float() - 127.0) / 128.0  # as the network was trained
        longest = max(x.shape[2:])
        if longest < EFFICIENTNET_SIDE:
            x = interpolate(x, scale_factor=EFFICIENTNET_SIDE / longest, mode="bilinear", antialias=False)
        y: Tensor = network(x.contiguous(memory_format=torch.channels_last))
        return y

    weights = VARIANTS[variant].sha256[:8]
    return Extractor(f"{name}-imagenet/pool1280/side{EFFICIENTNET_SIDE}/{weights}", embed, device)


def _inception(path: Path, device: torch.device) -> Extractor:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    if not path.is_file():
        raise ExtractorUnavailable(
            f"{path}: no such file of inception weights; correct score.inception_weights in params.yaml, "
            "or set score.extractor to efficientnet-lite0"
        )
    try:
        # torch-fidelity unpickles the file freely; one that loads here holds nothing but tensors.
        torch.load(path, map_location="cpu", weights_only=True)
        network: Any = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path)).to(device)
    except (pickle.UnpicklingError, EOFError, OSError, RuntimeError, TypeError, ValueError) as error:
        # A file that is no such checkpoint fails as a zip, a pickle or a state dict, each in its own way.
        raise ExtractorUnavailable(
            f"{path}: not the weights of torch-fidelity's InceptionV3 ({str(error).splitlines()[0]}); "
            "give the file that torch-fidelity publishes, or set score.extractor to efficientnet-lite0"
        ) from error

    def embed(images: Tensor) -> Tensor:
        (y,) = network(images)
        return torch.as_tensor(y)

    return Extractor(f"inception-v3-compat/2048/side299/{sha256(path)[:8]}", embed, device)


def _download_inception() -> Path:
    """torch-fidelity's own weights, in torch's own cache of checkpoints."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    name: str = URL_INCEPTION_V3.rsplit("/", 1)[1]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), hash_prefix=name.rsplit("-", 1)[1].split(".")[0])
    except (OSError, RuntimeError) as error:
        raise ExtractorUnavailable(
            f"{URL_INCEPTION_V3}: cannot be downloaded ({error}); set score.inception_weights in params.yaml "
            "to a local copy, or score.extractor to efficientnet-lite0"
        ) from error
    return path
