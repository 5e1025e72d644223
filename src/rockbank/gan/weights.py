"""Generators from their weights, ours or published ones, and samples of them."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor, nn

from rockbank.core.errors import InputError
from rockbank.gan.checkpoint import write_tensors
from rockbank.gan.networks import ImageShape, Shape, build_generator

# 16 images a call cost less per image than 64 on two cores, and bound the memory of a large n.
BATCH = 16


class WeightsMismatch(InputError):
    """A file of weights cannot be read, or is not of the network."""


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write a state dict as safetensors, whole or not at all."""
    write_tensors(weights, path)


def load_generator(
    path: Path, *, network: str, latent: Shape, image: ImageShape, content: bytes | None = None
) -> nn.Module:
    """The generator whose safetensors weights lie in `path`, in eval mode on the CPU.

    Args:
        path: as `save_weights` wrote it.
        network: entry of the table of networks.
        latent: shape of one latent.
        image: channels, height and width of one sample.
        content: of the file, where it has been compared with a fingerprint and the file may have changed since.

    Raises:
        WeightsMismatch: naming the file, and what is missing, unknown or of another shape.
        InputError: for an unknown network or shapes that do not fit it.
    """
    try:
        weights = load_file(path) if content is None else load(content)
    except (SafetensorError, OSError) as error:
        raise WeightsMismatch(f"{path}: no safetensors weights: {error}; export or pull them again") from error
    return _with_weights(weights, path, network, latent, image)


def load_foreign(path: Path, *, network: str, latent: Shape, image: ImageShape) -> nn.Module:
    """The generator of a published state dict, a safetensors or a torch file; no code in it is run.

    Batch norm's count of batches, which older files lack, may be missing.

    Raises:
        WeightsMismatch: naming the file, and why it is refused.
        InputError: for an unknown network or shapes that do not fit it.
    """
    if path.suffix == ".safetensors":
        return load_generator(path, network=network, latent=latent, image=image)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsMismatch(
            f"{path}: refused, it is no file of plain tensors, and loading it could run code; "
            "ask its author for a state dict saved by torch.save(model.state_dict(), ...)"
        ) from error
    # What torch raises of a file that was never its own.
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise WeightsMismatch(f"{path}: not a torch file: {error}; fetch it again") from error
    if not isinstance(weights, Mapping) or not all(isinstance(each, Tensor) for each in weights.values()):
        found = list(weights) if isinstance(weights, Mapping) else type(weights).__name__
        raise WeightsMismatch(
            f"{path}: not a state dict of names and tensors, got {str(found)[:200]}; save the generator's state_dict()"
        )
    return _with_weights(weights, path, network, latent, image)


@torch.no_grad()
def sample(
    generator: nn.Module, latents: Float32[np.ndarray, "n ..."], batch: int = BATCH
) -> Float32[np.ndarray, "n c h w"]:
    """What the generator gives of each latent, in network range; its mode and device stay as they are."""
    device = next(generator.parameters()).device
    images = [generator(torch.from_numpy(each).to(device)).float().cpu().numpy() for each in _batches(latents, batch)]
    return np.concatenate(images)


def _batches(latents: Float32[np.ndarray, "n ..."], batch: int) -> list[Float32[np.ndarray, "b ..."]]:
    return [latents[start : start + batch] for start in range(0, len(latents), batch)]


def _with_weights(
    weights: Mapping[str, Tensor], path: Path, network: str, latent: Shape, image: ImageShape
) -> nn.Module:
    generator = build_generator(network, latent, image, torch.Generator().manual_seed(0))
    wanted = generator.state_dict()
    missing = sorted(name for name in wanted if name not in weights and not name.endswith("num_batches_tracked"))
    unknown = sorted(name for name in weights if name not in wanted)
    if missing or unknown:
        raise WeightsMismatch(
            f"{path}: not of the network '{network}': missing {_some(missing)}, unknown {_some(unknown)}; "
            "name the network that it was saved from"
        )
    for name, tensor in weights.items():
        if tensor.shape != wanted[name].shape:
            raise WeightsMismatch(
                f"{path}: '{name}' is {list(tensor.shape)}, the network '{network}' with latent {list(latent)} and "
                f"image {list(image)} needs {list(wanted[name].shape)}; give the shapes that it was trained with"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsMismatch(f"{path}: '{name}' holds NaN or infinity; fetch or train it again")
    generator.load_state_dict(dict(weights))
    return generator.eval().requires_grad_(False)


def _some(names: list[str]) -> str:
    return f"{names[:5]}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")
