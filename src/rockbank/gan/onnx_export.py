"""A generator as one ONNX file, and how far it is from the one in torch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from rockbank.core.errors import UserError
from rockbank.core.files import replacing
from rockbank.gan.networks import TOLERANCE, Shape
from rockbank.gan.weights import sample
from rockbank.generator.card import INPUT, OUTPUT
from rockbank.generator.latents import Lattice, draw_latents

OPSET = 20


class ParityError(UserError, RuntimeError):
    """An exported graph does not give what the generator in torch gives."""


def export_onnx(generator: nn.Module, latent_shape: Shape, path: Path, lattice: Lattice | None = None) -> None:
    """Write the generator, in eval mode, as ONNX: one file, input "latent", output "image", any batch size.

    Args:
        generator: in torch.
        latent_shape: of one latent.
        path: to write.
        lattice: of an endless generator, whose graph then takes latents of any extent.

    Raises:
        ParityError: where the exporter gives another opset than the required one.
    """
    was_training = generator.training
    # A batch of 1 would be taken for a constant.
    example = torch.zeros(2, *latent_shape)
    dynamic = {0: torch.export.Dim("n")}
    if lattice is not None:
        least = 2 * lattice.margin + 1
        # Of two extents, and neither the least, or they would be taken for one and for a constant.
        example = torch.zeros(2, latent_shape[0], least + 1, least + 2)
        dynamic |= {2: torch.export.Dim("h", min=least), 3: torch.export.Dim("w", min=least)}
    with replacing(path) as beside, _quiet():
        torch.onnx.export(
            generator.eval(),
            (example,),
            beside,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=(dynamic,),
            opset_version=OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
        graph = _without_traces(onnx.load(beside, load_external_data=False))
        onnx.save(graph, beside)
        onnx.checker.check_model(graph, full_check=True)
        opsets = {each.domain: each.version for each in graph.opset_import}
        if opsets.get("") != OPSET:
            raise ParityError(
                f"{path}: got opset {opsets.get('')} from the exporter, not {OPSET}; use its pinned version"
            )
    generator.train(was_training)


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """The exporter notes at each node the lines, with their paths on this machine, that it comes from."""
    for of in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        of.ClearField("metadata_props")
    return model


def parity(
    generator: nn.Module,
    path: Path,
    latent_shape: Shape,
    lattice: Lattice | None = None,
    *,
    batches: Sequence[int] = (1, 2, 7, 32),
    tolerance: float = TOLERANCE,
) -> float:
    """The largest |ONNX - torch| over batches of these sizes, in units of the network's range.

    Args:
        generator: in torch.
        path: of the graph.
        latent_shape: of one latent.
        lattice: of an endless generator, which is then compared at other extents too.
        batches: numbers of latents.
        tolerance: above which the graph is refused.

    Raises:
        ParityError: where it is above `tolerance`, or not a number.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    was_training = generator.training
    generator.eval()
    shapes = [(batch, *latent_shape) for batch in batches]
    if lattice is not None:
        least = 2 * lattice.margin + 1
        extents = ((1, least, least), (2, least, least + 5), (1, least + 15, least + 15), (1, least + 12, least + 1))
        shapes += [(batch, latent_shape[0], height, width) for batch, height, width in extents]
    largest = 0.0
    for batch, *shape in shapes:
        latents = draw_latents(batch, batch, tuple(shape), lattice=lattice)
        (image,) = session.run([OUTPUT], {INPUT: latents})
        difference = float(np.abs(np.asarray(image) - sample(generator, latents, batch)).max())
        if not difference <= tolerance:
            raise ParityError(
                f"{path}: differs from torch by {difference:.3g} at {batch} latents of {shape}, more than "
                f"{tolerance:g}; do not use it, export it again with the pinned versions"
            )
        largest = max(largest, difference)
    generator.train(was_training)
    return largest


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's warnings and log lines concern its own insides."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
