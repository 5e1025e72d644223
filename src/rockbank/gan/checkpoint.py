"""A training's state in one safetensors file: tensors, and JSON in its header; no pickles.

Only the weights, the optimisers' averages and the step are state: each step draws its randomness from the seed and
its own number, so there is no generator whose state could be lost.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rockbank.core.errors import InputError
from rockbank.core.files import replacing

FILE = "training.safetensors"


class CheckpointMismatch(InputError):
    """A checkpoint is not of this training, or not whole."""


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write the state into `folder`; a process killed meanwhile leaves the previous one."""
    write_tensors(tensors, folder / FILE, {"about": json.dumps(about)})


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, whole or not at all.

    Raises:
        OSError: where they cannot be written, as on a full disk.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as beside:
        try:
            save_file(plain, beside, metadata=metadata)
        except SafetensorError as error:
            raise OSError(f"{path}: cannot be written: {error}; free some room") from error


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and the rest of the state in `folder`; None where there is none.

    Raises:
        CheckpointMismatch: for a file that is not a checkpoint.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 - no mapping
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointMismatch(f"{path}: not a checkpoint: {error}; remove it to start anew") from error


def saved_step(folder: Path) -> int | None:
    """The step of the checkpoint in `folder`; None where there is none, or it is not whole."""
    try:
        saved = load_checkpoint(folder)
    except CheckpointMismatch:
        return None
    return None if saved is None else int(saved[1]["step"])


def fingerprint(crops: UInt[np.ndarray, "n c h w"], **values: Any) -> dict[str, Any]:
    """What has to be the same for a training to go on: the crops and `values`, as JSON gives them back."""
    digest = hashlib.sha256(f"{crops.shape} {crops.dtype}".encode())
    for start in range(0, len(crops), 1024):
        digest.update(np.ascontiguousarray(crops[start : start + 1024]).data)
    fingerprint: dict[str, Any] = json.loads(json.dumps({"crops": digest.hexdigest(), **values}))
    return fingerprint


def check_fingerprint(folder: Path, saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise CheckpointMismatch, naming what differs, unless the checkpoint in `folder` is of this training."""
    differing = sorted(key for key in {*saved, *wanted} if saved.get(key) != wanted.get(key))
    if differing:
        raise CheckpointMismatch(
            f"{folder / FILE}: of another training, these differ: {differing}; "
            "use another folder, or remove it to start anew"
        )


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under `prefix`.name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those tensors whose names start with `prefix`, without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Its running averages, by parameter's number and name; rates and decays belong to the params."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{name}": value for i, values in state.items() for name, value in values.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` gave.

    Averages take their parameter's memory format, which a file does not keep: another one could take another
    kernel, whose rounding differs.
    """
    parameters: list[nn.Parameter] = [each for group in optimiser.param_groups for each in group["params"]]
    for name, saved in tensors.items():
        i, key = name.split(".")
        parameter = parameters[int(i)]
        like = parameter.detach() if saved.shape == parameter.shape else saved
        optimiser.state[parameter][key] = torch.empty_like(like).copy_(saved)
