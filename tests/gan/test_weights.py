"""Weights come back as they were, and foreign ones are refused with a reason."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rockbank.gan.networks import build_generator
from rockbank.gan.weights import WeightsMismatch, load_foreign, load_generator, sample, save_weights
from rockbank.generator.latents import draw_latents
from rockbank.generator.ranges import to_intensity, to_network

LATENT, IMAGE = (8,), (1, 16, 16)


def make_generator(seed: int = 0) -> nn.Module:
    return build_generator("table1", LATENT, IMAGE, torch.Generator().manual_seed(seed)).eval()


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    generator = make_generator()
    save_weights(generator.state_dict(), tmp_path / "weights.safetensors")
    loaded = load_generator(tmp_path / "weights.safetensors", network="table1", latent=LATENT, image=IMAGE)
    latents = draw_latents(0, 5, LATENT)
    assert not loaded.training
    np.testing.assert_array_equal(sample(loaded, latents), sample(generator, latents))


def test_batches_do_not_change_a_sample() -> None:
    latents = draw_latents(0, 7, LATENT)
    # float32 round-off: another batch may take another kernel
    np.testing.assert_allclose(sample(make_generator(), latents, 2), sample(make_generator(), latents, 7), atol=1e-5)


def test_published_state_dict_may_lack_the_count_of_batches(tmp_path: Path) -> None:
    state = {name: each for name, each in make_generator().state_dict().items() if "num_batches" not in name}
    torch.save(state, tmp_path / "published.pth")
    loaded = load_foreign(tmp_path / "published.pth", network="table1", latent=LATENT, image=IMAGE)
    latents = draw_latents(0, 3, LATENT)
    np.testing.assert_array_equal(sample(loaded, latents), sample(make_generator(), latents))


def refusal(path: Path, network: str = "table1") -> str:
    with pytest.raises(WeightsMismatch) as caught:
        load_foreign(path, network=network, latent=LATENT, image=IMAGE)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_missing_and_unknown_keys_are_named(tmp_path: Path) -> None:
    state = dict(make_generator().state_dict())
    state["stray"] = state.pop("linear.weight")
    torch.save(state, tmp_path / "published.pth")
    assert "missing ['linear.weight'], unknown ['stray']" in refusal(tmp_path / "published.pth")


def test_another_shape_is_named(tmp_path: Path) -> None:
    state = {**make_generator().state_dict(), "linear.bias": torch.zeros(3)}
    torch.save(state, tmp_path / "published.pth")
    assert "'linear.bias' is [3]" in refusal(tmp_path / "published.pth")


def test_nan_is_refused(tmp_path: Path) -> None:
    state = {**make_generator().state_dict()}
    state["linear.bias"] = torch.full_like(state["linear.bias"], torch.nan)
    torch.save(state, tmp_path / "published.pth")
    assert "'linear.bias' holds NaN" in refusal(tmp_path / "published.pth")


def test_what_is_not_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "model": {}}, tmp_path / "published.pth")
    assert "not a state dict of names and tensors, got ['epoch', 'model']" in refusal(tmp_path / "published.pth")


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("/nonexistent/ran"),))  # type: ignore[return-value]


def test_code_in_a_pickle_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": Bomb()}, tmp_path / "zipped.pth")
    assert "could run code" in refusal(tmp_path / "zipped.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb()))
    refusal(tmp_path / "plain.pth")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"text"])
def test_what_is_not_a_torch_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "published.pth").write_bytes(content)
    refusal(tmp_path / "published.pth")


def test_absent_and_damaged_files_are_refused(tmp_path: Path) -> None:
    refusal(tmp_path / "absent.pth")
    refusal(tmp_path / "absent.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\xff" * 20)
    refusal(tmp_path / "cut.safetensors")


def test_range_and_intensity_are_inverse() -> None:
    value_range = ((-1.0, 1.0), (0.0, 1.0))
    image = np.array([[-1.0, 0.5], [0.0, 1.0]], np.float32).reshape(1, 2, 1, 2)
    intensity = to_intensity(image, value_range)
    np.testing.assert_allclose(intensity.reshape(2, 2), [[0.0, 0.75], [0.0, 1.0]])
    np.testing.assert_allclose(to_network(intensity, value_range), image)
    assert intensity.dtype == np.float32
