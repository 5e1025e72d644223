"""An exported graph gives what torch gives, at any batch."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from rockbank.gan.networks import build_generator, find_network
from rockbank.gan.onnx_export import OPSET, ParityError, export_onnx, parity
from rockbank.gan.weights import load_foreign, sample
from rockbank.generator.latents import draw_latents

DEEPFLOW = (
    Path(__file__).parents[2].parent / "shared" / "data" / "deepflow" / "generator_facies_multichannel_4_6790.pth"
)
SHAPES = {
    "table1": ((8,), (1, 32, 16)),
    "deepflow": ((6, 1, 2), (3, 64, 128)),
    "bodies": ((5 * 4 + 2 * 32,), (3, 32, 64)),
}


def make(name: str, seed: int = 0) -> torch.nn.Module:
    latent, image = SHAPES[name]
    return build_generator(name, latent, image, torch.Generator().manual_seed(seed))


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_one_file_of_the_opset_gives_what_torch_gives(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    latent, image = SHAPES[name]
    generator = make(name)
    with torch.no_grad():
        for seed in range(3):  # batch norm's running averages away from their start
            generator(torch.from_numpy(draw_latents(seed, 16, latent)))
    path = tmp_path / "generator.onnx"
    export_onnx(generator, latent, path)
    assert capfd.readouterr() == ("", "")
    assert generator.training
    # Nothing of the machine that it was exported on.
    assert b".py" not in path.read_bytes()
    # Seven layers of float32 sums, outputs of order 1; across an edge they go by 40 a cell.
    largest = 1e-3 if name == "bodies" else 1e-5
    assert 0 <= parity(generator, path, latent, tolerance=find_network(name).tolerance) < largest
    assert [each.name for each in tmp_path.iterdir()] == ["generator.onnx"]
    graph = onnx.load(path)
    assert {each.domain: each.version for each in graph.opset_import} == {"": OPSET}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(each.name, each.shape[1:]) for each in session.get_inputs()] == [("latent", list(latent))]
    assert [(each.name, each.shape[1:]) for each in session.get_outputs()] == [("image", list(image))]


def test_parity_refuses_other_weights(tmp_path: Path) -> None:
    latent, _ = SHAPES["table1"]
    export_onnx(make("table1"), latent, tmp_path / "generator.onnx")
    with pytest.raises(ParityError, match="differs from torch by"):
        parity(make("table1", seed=1), tmp_path / "generator.onnx", latent)


def test_parity_refuses_nan(tmp_path: Path) -> None:
    latent, _ = SHAPES["table1"]
    generator = make("table1")
    export_onnx(generator, latent, tmp_path / "generator.onnx")
    torch.nn.init.constant_(generator.linear.bias, torch.nan)  # type: ignore[arg-type,union-attr]
    with pytest.raises(ParityError, match="differs from torch by nan"):
        parity(generator, tmp_path / "generator.onnx", latent)


@pytest.mark.skipif(not DEEPFLOW.is_file(), reason="the published DeepFlow checkpoint is not at hand")
def test_published_deepflow_exports_with_parity(tmp_path: Path) -> None:
    latent = (50, 1, 2)
    generator = load_foreign(DEEPFLOW, network="deepflow", latent=latent, image=(3, 64, 128))
    export_onnx(generator, latent, tmp_path / "generator.onnx")
    assert parity(generator, tmp_path / "generator.onnx", latent) < 2e-4
    assert np.isfinite(sample(generator, draw_latents(0, 4, latent))).all()
