"""What every critic is: a value, or a value a patch, of what it sees of an image."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

# What a critic sees of images: the images themselves, or feature maps of them.
Maps = tuple[Tensor, ...]


class Critic(nn.Module):
    """A WGAN's critic value, or the logit of a discriminator.

    The view has nothing to learn, so that a training may look once and judge twice.
    """

    def project(self, image: Float[Tensor, "n c h w"]) -> Maps:
        """What the critic sees of the images; the images themselves but for a projected critic."""
        return (image,)

    def judge(self, maps: Maps) -> Float[Tensor, "n *patches"]:
        """The values of what it sees."""
        raise NotImplementedError

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n *patches"]:
        """The values of images."""
        return self.judge(self.project(image))
