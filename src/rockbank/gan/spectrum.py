"""The power spectrum of a generator's samples, and the fit of its noise to that of the rock.

A critic that looks through a network's features sees little of how much power the finest waves have, and averaging the
generator's weights takes some of it away. How much noise enters at each scale decides it, and little else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float, UInt
from torch import Tensor

from rockbank.gan.batches import SPECTRUM, reseed
from rockbank.gan.networks import build_generator, find_network
from rockbank.generator.ranges import ValueRange
from rockbank.params import GeneratorParams
from rockbank.rock.crops import to_intensity
from rockbank.rock.grey import ROUNDING, radial_spectrum, ring_weights, window

BATCH, RATE = 32, 0.01
# The parameters that are fitted end so.
NOISE = "noise_weight"


class SpectralDistance:
    """The mean square difference between the mean power spectra of a batch and of all crops, unbiased.

        mean_k sum_(i /= j) r_ik r_jk / (n (n - 1)),    r_ik = (P_k(x_i) - mean P_k) / std P_k

    P_k(x_i) is the power of image i in ring k (`grey.radial_spectrum`), its mean and standard deviation those of the
    crops. The mean over a batch is held, since a single crop may have any spectrum (Durall et al. 2020 hold each
    image's); pairs of an image with itself are left out, or spectra that vary less than the rock's would be rewarded.
    """

    def __init__(self, crops: UInt[np.ndarray, "n c h w"], value_range: ValueRange, device: torch.device) -> None:
        """`crops`: all of them; `value_range`: of the images to come."""
        spectra = [radial_spectrum(to_intensity(crops[:, c])) for c in range(crops.shape[1])]
        moments = [[each.mean(axis=0) for each in spectra], [each.std(axis=0) + ROUNDING for each in spectra]]
        shape = crops.shape[2:]
        self._mean, self._unit = torch.tensor(np.array(moments), dtype=torch.float32, device=device)
        self._window = torch.tensor(window(shape), dtype=torch.float32, device=device)
        self._rings = torch.tensor(ring_weights(shape), dtype=torch.float32, device=device)
        low, high = torch.tensor(value_range, device=device).T[:, :, None, None]
        self._low, self._high = low, high

    def __call__(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
        """Of a batch in the network's range, clipped as samples are; at least 2 images."""
        intensity = images.clamp(self._low, self._high) / (self._high - self._low)
        mean = (self._window * intensity).sum((2, 3), keepdim=True) / self._window.sum()
        power = torch.fft.rfft2(self._window * (intensity - mean)).abs().square() / self._window.square().sum()
        r = (power.flatten(2) @ self._rings - self._mean) / self._unit
        pairs = r.sum(dim=0).square() - r.square().sum(dim=0)
        distance: Tensor = pairs.mean() / (len(r) * (len(r) - 1))
        return distance


def fit_spectrum(
    weights: Mapping[str, Tensor],
    crops: UInt[np.ndarray, "n c h w"],
    params: GeneratorParams,
    device: torch.device,
    on_step: Callable[[], object] = lambda: None,
) -> dict[str, Tensor]:
    """The weights of a trained generator with its noise weights fitted to the mean power spectrum of the crops.

    Adam, its rate falling linearly to 0, by batches of 32 in float32. The same seed gives the same weights.

    Args:
        weights: of the generator, as a training has kept them.
        crops: that it learnt from.
        params: how many steps, its networks and its seed.
        device: where to fit.
        on_step: is called after each step.
    """
    network = find_network(params.network)
    generator = build_generator(params.network, params.latent, crops.shape[1:], torch.Generator())
    generator.load_state_dict(weights)
    generator.to(device)
    fitted = [each.requires_grad_(name.endswith(NOISE)) for name, each in generator.named_parameters()]
    optimiser = torch.optim.Adam([each for each in fitted if each.requires_grad], lr=RATE)
    distance, rng = SpectralDistance(crops, network.value_range, device), torch.Generator(device)
    for step in range(params.spectral_steps):
        reseed(rng, params.seed, SPECTRUM, step)
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / params.spectral_steps)
        loss = distance(generator(torch.randn(BATCH, *params.latent, generator=rng, device=device)))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        on_step()
    return {name: each.detach().cpu() for name, each in generator.state_dict().items()}
