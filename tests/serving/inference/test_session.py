"""The same latent gives the same bits in whatever batch, and what cannot be computed as exported is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rockbank.generator.card import ONNX, ModelCard
from rockbank.generator.latents import draw_latents, latent_blocks
from rockbank.generator.sampler import has_gpu, open_session
from serving.base.errors import LoadRefused
from serving.inference.runners import bound_runner
from serving.inference.session import GOLDEN_TOLERANCE, Generator
from tests.tiny_generators import ENDLESS_LATENT, LATTICE, tiny_golden, tiny_images

Make = Callable[..., Path]


def load(folder: Path, **keywords: int) -> Generator:
    return Generator(folder, ModelCard.load(folder), threads=1, **keywords)


@pytest.fixture
def tiny(generator_folder: Make) -> Generator:
    return load(generator_folder())


def test_images_are_those_of_the_naive_reference(tiny: Generator) -> None:
    # Products of 4 numbers in float32: round-off is a few of its last places.
    np.testing.assert_allclose(tiny.sample(7, 40), tiny_images(7, 40), rtol=0, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 11, 16])
def test_an_image_does_not_depend_on_its_batch_to_the_bit(tiny: Generator, n: int) -> None:
    latents = draw_latents(3, 16, (4,))
    whole = tiny.run(latents)
    for start in range(16 - n + 1):
        np.testing.assert_array_equal(tiny.run(latents[start : start + n]), whole[start : start + n])


def write_batch_dependent(path: Path) -> None:
    """image = tanh(latent W) + 1e-6 where the batch holds fewer than eight: as kernels that choose by batch size do."""
    weights = np.random.default_rng(0).standard_normal((4, 256)).astype(np.float32)
    constants = {
        "W": weights, "shape": np.array([-1, 1, 16, 16]), "one": np.array([1]), "zero": np.array([0]),
        "eight": np.array([8]), "last_bits": np.array(1e-6, dtype=np.float32),
        "nothing": np.array(0, dtype=np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["latent", "W"], ["flat"]),
        helper.make_node("Tanh", ["flat"], ["grey"]),
        helper.make_node("Shape", ["latent"], ["sizes"]),
        helper.make_node("Slice", ["sizes", "zero", "one"], ["n"]),
        helper.make_node("Less", ["n", "eight"], ["is_small"]),
        helper.make_node("Where", ["is_small", "last_bits", "nothing"], ["error"]),
        helper.make_node("Add", ["grey", "error"], ["wrong"]),
        helper.make_node("Reshape", ["wrong", "shape"], ["image"]),
    ]
    graph = helper.make_graph(
        nodes,
        "batch_dependent",
        [helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 16, 16])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def test_batch_sizes_that_give_other_bits_are_not_used(generator_folder: Make, tmp_path: Path) -> None:
    write_batch_dependent(tmp_path / "graph.onnx")
    generator = load(generator_folder(onnx_bytes=(tmp_path / "graph.onnx").read_bytes()))
    assert generator.buckets == (8, 16)
    latents = draw_latents(3, 16, (4,))
    np.testing.assert_array_equal(generator.run(latents[:1]), generator.run(latents)[:1])


def test_the_largest_batch_is_the_settings(generator_folder: Make) -> None:
    assert load(generator_folder(), max_batch=6).buckets == (1, 3, 6)


@pytest.mark.skipif(has_gpu(), reason="the session runs on the GPU, whose own test is the next one")
def test_bound_memory_gives_the_same_images_call_after_call(tiny: Generator, generator_folder: Make) -> None:
    """The way of a GPU, as far as a CPU goes: memory bound once, and results that the next call leaves alone."""
    folder = generator_folder()
    run = bound_runner(open_session(folder / ONNX), ModelCard.load(folder), 4, "cpu", cuda_graphs=False)
    first, second = draw_latents(1, 4, (4,)), draw_latents(2, 4, (4,))
    images = run(first)
    run(second)
    np.testing.assert_array_equal(images, tiny.run(first))


@pytest.mark.skipif(not has_gpu(), reason="no NVIDIA GPU")
@pytest.mark.parametrize("cuda_graphs", [False, True], ids=["bound", "graphs"])
def test_a_gpu_gives_the_processors_images_call_after_call(generator_folder: Make, cuda_graphs: bool) -> None:
    generator = load(generator_folder(), cuda_graphs=cuda_graphs)
    generator.require_gpu()
    assert not generator.gpu_missed
    latents = draw_latents(3, 16, (4,))
    whole = generator.run(latents)
    generator.run(draw_latents(4, 16, (4,)))
    # Products of 4 numbers in float32.
    np.testing.assert_allclose(whole, tiny_images(3, 16), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(generator.run(latents[5:8]), whole[5:8])
    generator.check_golden()


@pytest.mark.skipif(has_gpu(), reason="it gets its GPU")
def test_a_gpu_that_is_required_and_not_had_is_refused_by_what_the_session_says(tiny: Generator) -> None:
    assert tiny.provider == "CPUExecutionProvider"
    with pytest.raises(LoadRefused, match=r"runs it on CPUExecutionProvider.*ROCKBANK_REQUIRE_GPU=false") as refused:
        tiny.require_gpu()
    assert refused.value.reason == "provider"


def test_the_golden_sample_holds(tiny: Generator) -> None:
    # Round-off of a product of four float32 numbers.
    assert tiny.check_golden() < 1e-6


def test_another_golden_sample_is_refused(generator_folder: Make) -> None:
    golden = tiny_golden()
    golden["values"][3] += 2 * GOLDEN_TOLERANCE
    generator = load(generator_folder(golden=golden))
    with pytest.raises(LoadRefused, match=r"golden sample differs by 0\.0004") as refused:
        generator.check_golden()
    assert refused.value.reason == "golden"


@pytest.mark.parametrize(
    "golden",
    [{}, {"seed": 1, "places": [0, 256], "values": [0.0, 0.0]}, {"seed": 1, "places": [0], "values": [0.0, 1.0]}],
    ids=["none", "beyond the image", "of another length"],
)
def test_a_card_without_a_usable_golden_sample_is_refused(generator_folder: Make, golden: dict[str, object]) -> None:
    with pytest.raises(LoadRefused, match="no golden sample for images of 256 values"):
        load(generator_folder(golden=golden)).check_golden()


def test_a_golden_sample_of_nan_is_no_match(generator_folder: Make) -> None:
    golden = tiny_golden() | {"values": [float("1e999")] * 16}
    folder = generator_folder()
    generator = load(folder)
    generator.card.golden["values"] = golden["values"]
    assert generator.golden_difference() == float("inf")


@pytest.mark.parametrize("broken", [b"", b"no graph", b"\x08\x0a" * 100], ids=["empty", "text", "bytes"])
def test_a_graph_that_onnxruntime_cannot_read_is_refused(generator_folder: Make, broken: bytes) -> None:
    with pytest.raises(LoadRefused, match="onnxruntime cannot open it") as refused:
        load(generator_folder(onnx_bytes=broken))
    assert refused.value.reason == "onnx"


def test_a_graph_with_another_input_is_refused(generator_folder: Make, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Tanh", ["latent"], ["image"])],
        "other",
        [helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["batch", 5])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 5])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "o")
    with pytest.raises(LoadRefused, match="its card says"):
        load(generator_folder(onnx_bytes=(tmp_path / "o").read_bytes()))


def test_what_no_image_of_an_endless_generator_depends_on_is_found(generator_folder: Make, tiny: Generator) -> None:
    endless = load(generator_folder(endless=True))
    # Its noise, four channels of eight, is cropped by the margin of one cell.
    assert endless.n_read == (4,)
    assert tiny.n_read == ()
    whole = draw_latents(7, 3, ENDLESS_LATENT, lattice=LATTICE)
    (part,) = latent_blocks(7, 3, ENDLESS_LATENT, size=3, lattice=LATTICE, n_read=endless.n_read)
    assert (part == 0).sum() == 3 * 4 * 36
    np.testing.assert_array_equal(endless.run(part), endless.run(whole))


@pytest.mark.parametrize("size", [1, 3, 16, 1000])
@pytest.mark.parametrize("shape", [(1,), (3,), (50, 1, 2)], ids=str)
def test_latents_drawn_in_blocks_are_those_drawn_at_once_to_the_bit(size: int, shape: tuple[int, ...]) -> None:
    blocks = list(latent_blocks(7, 50, shape, 0.7, size=size))
    assert [len(block) for block in blocks] == [min(size, 50 - start) for start in range(0, 50, size)]
    np.testing.assert_array_equal(np.concatenate(blocks), draw_latents(7, 50, shape, 0.7))
