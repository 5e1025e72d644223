"""A repository for Triton says of a model what the service says, and holds the graph that its card vouches for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
from google.protobuf import text_format
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import model_config_pb2

from rockbank.core.errors import InputError
from serving.base.settings import Settings
from serving.triton_repository import CONFIG, MODEL, write_repository
from tests.serving.conftest import Serve


async def test_it_has_the_metadata_of_the_service(
    shale: Path, serve: Serve, settings: Callable[..., Settings], tmp_path: Path
) -> None:
    folder = tmp_path / "repository"
    write_repository(folder, ["shale@champion", "shale/2"], settings())
    written = text_format.Parse((folder / "shale" / CONFIG).read_text(), model_config_pb2.ModelConfig())
    assert list(written.version_policy.specific.versions) == [1, 2]
    written.ClearField("version_policy")
    async with serve() as running:
        told = (await running.client.get("/v2/models/shale/config")).json()
        metadata = (await running.client.get("/v2/models/shale")).json()
    as_told = MessageToDict(written, preserving_proto_field_name=True)
    for tensor in (*as_told["input"], *as_told["output"]):
        # Numbers of 64 bits are text in protobuf's JSON.
        tensor["dims"] = [int(size) for size in tensor["dims"]]
    as_told["dynamic_batching"]["max_queue_delay_microseconds"] = written.dynamic_batching.max_queue_delay_microseconds
    assert as_told == told
    for version in ("1", "2"):
        session = onnxruntime.InferenceSession(folder / "shale" / version / MODEL, providers=["CPUExecutionProvider"])
        for tensors, told_of in ((session.get_inputs(), "inputs"), (session.get_outputs(), "outputs")):
            (tensor,), (about,) = tensors, metadata[told_of]
            shape = [size if isinstance(size, int) else -1 for size in tensor.shape]
            assert (tensor.name, shape, tensor.type) == (about["name"], about["shape"], "tensor(float)")


def test_a_folder_that_is_there_is_left_alone(settings: Callable[..., Settings], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is there already"):
        write_repository(tmp_path, ["shale@champion"], settings())


def test_nothing_is_half_written(shale: Path, settings: Callable[..., Settings], tmp_path: Path) -> None:
    with pytest.raises(Exception, match="7"):
        write_repository(tmp_path / "repository", ["shale@champion", "shale/7"], settings())
    assert list(tmp_path.glob("*repository*")) == []
