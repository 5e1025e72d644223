"""A model repository for Triton: the registered generators, with the configuration that our own service tells of them.

    FOLDER/NAME/config.pbtxt    batching, and which versions are served
    FOLDER/NAME/VERSION/model.onnx

Triton draws no latents: its clients do, as `rockbank.generator.latents.draw_latents` of a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rockbank.core.errors import InputError
from rockbank.core.files import replacing_folder, require_writable
from rockbank.generator.card import ONNX
from rockbank.mlops import registry
from serving.base.settings import Settings
from serving.inference.configuration import configuration
from serving.inference.session import Generator
from serving.protocol.triton import ModelConfig

CONFIG, MODEL = "config.pbtxt", "model.onnx"


def write_repository(folder: Path, references: Sequence[str], settings: Settings) -> list[str]:
    """Pull and verify each of `references`, compare its graph with its golden sample, and write all into `folder`.

    Args:
        folder: a new one.
        references: NAME@ALIAS or NAME/VERSION; several of one name are its versions.
        settings: of batches, as of the service.

    Returns:
        A line for each version.

    Raises:
        InputError: the folder is there, or versions of one name have other inputs or outputs.
        RegistryError, LoadRefused: one of them cannot be had, or may not be served.
    """
    if folder.exists():
        raise InputError(f"{folder}: is there already; give the name of a new folder")
    require_writable(folder)
    said, configurations = [], dict[str, tuple[ModelConfig, list[str]]]()
    with replacing_folder(folder) as beside, TemporaryDirectory() as temporary:
        for i, reference in enumerate(references):
            files = Path(temporary) / str(i)
            entry, card = registry.pull(reference, files)
            generator = Generator(files, card, threads=settings.threads, max_batch=settings.max_batch)
            generator.check_golden()
            now = configuration(settings, entry.name, card, generator)
            before, versions = configurations.setdefault(entry.name, (now, []))
            if (now.input, now.output) != (before.input, before.output):
                raise InputError(f"{entry.name}/{entry.version}: its images or latents have another shape than "
                                 f"those of {entry.name}/{versions[0]}; write it to another folder")  # fmt: skip
            if entry.version not in versions:
                versions.append(entry.version)
                (beside / entry.name / entry.version).mkdir(parents=True)
                # The bytes that the card vouches for, whatever becomes of the file meanwhile.
                (beside / entry.name / entry.version / MODEL).write_bytes(card.read(files, ONNX))
            said.append(f"{folder / entry.name / entry.version / MODEL}: {reference}, {card.generator}")
        for name, (first, versions) in configurations.items():
            (beside / name / CONFIG).write_text(as_text(first, versions), encoding="utf-8")
    return said


def as_text(configuration: ModelConfig, versions: Sequence[str]) -> str:
    """A config.pbtxt that serves these versions.

    Raises:
        InputError: the schema of Triton's configurations is not installed.
    """
    try:
        from google.protobuf.json_format import ParseDict
        from google.protobuf.text_format import MessageToString
        from tritonclient.grpc import model_config_pb2
    except ModuleNotFoundError as error:
        raise InputError(f"'{error.name}' is not installed, which has the schema of Triton's configurations; "
                         "pip install 'rockbank[serve,grpc]'") from error  # fmt: skip
    policy = {"version_policy": {"specific": {"versions": sorted(map(int, versions))}}}
    return str(MessageToString(ParseDict(configuration.model_dump() | policy, model_config_pb2.ModelConfig())))
