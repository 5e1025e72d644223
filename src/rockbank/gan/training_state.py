"""The state of a training: networks, optimisers, the best generator so far, and the steps that move it on."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float32, UInt
from torch import Tensor

from rockbank.core.errors import UserError
from rockbank.gan.batches import STEP, WEIGHTS, real_batch, reseed
from rockbank.gan.checkpoint import optimiser_tensors, restore_optimiser, with_prefix, without_prefix
from rockbank.gan.energy_distance import EnergyDistance, two_point
from rockbank.gan.features import FrozenFeatures, Maps, pool
from rockbank.gan.losses import ONE, find_loss, gradient_norms, interpolate, make_optimiser
from rockbank.gan.networks import Dropout, ImageShape, build_critic, build_generator, find_network
from rockbank.gan.ranks import Ranks
from rockbank.gan.weights import sample
from rockbank.generator.ranges import to_intensity, to_network
from rockbank.params import GeneratorParams
from rockbank.rock.crops import to_intensity as crop_intensity

# Crops whose features are found at once, for the energy distance.
N_EMBEDDED = 64


class TrainingDiverged(UserError, RuntimeError):
    """A loss or a gradient is no longer a finite number."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One generator step.

    Attributes:
        step: generator steps done.
        metrics: losses, penalty, gradient norms and images per second of the step; on evaluated steps the scores too.
        samples: on evaluated steps, intensities of the averaged generator at the same latents each time.
        is_best: the averaged generator has the least "kid" so far.
        best_step: the step of `best`.
        best: weights of the averaged generator at `best_step`; empty before the first evaluation.
        is_replayed: read from a checkpoint, not done now; of these only the last has samples.
    """

    step: int
    metrics: dict[str, float]
    samples: Float32[np.ndarray, "n c h w"] | None = None
    is_best: bool = False
    best_step: int = 0
    best: Mapping[str, Tensor] = field(default_factory=dict)
    is_replayed: bool = False


def has_bf16(device: torch.device) -> bool:
    """Whether the processor computes in bf16 itself; where it is emulated, float32 is faster."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    known = torch.cpu.get_capabilities()
    return any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


@dataclass(frozen=True, kw_only=True)
class _View:
    """Images, and what a projected critic sees of them; seen once, since that does not learn."""

    image: Tensor
    maps: Maps | None

    def detached(self) -> _View:
        maps = None if self.maps is None else tuple(each.detach() for each in self.maps)
        return _View(image=self.image.detach(), maps=maps)


class TrainingState:
    """Networks, optimisers, the generator's moving average, and the best of it so far."""

    def __init__(
        self, crops: UInt[np.ndarray, "n c h w"], params: GeneratorParams, device: torch.device, ranks: Ranks = ONE
    ) -> None:
        ranks.check(params.batch)
        _, n_channels, height, width = crops.shape
        image: ImageShape = (n_channels, height, width)
        # A bf16 critic step of Table 1, 32 images, one AMX core: 0.30 s, in channels_last 0.35 s; GPUs want the latter.
        layout = (
            torch.channels_last if device.type == "cuda" or params.network == "texture" else torch.contiguous_format
        )
        rng = reseed(torch.Generator(), params.seed, WEIGHTS, 0)
        self.rng = torch.Generator(device)
        self.generator = build_generator(params.network, params.latent, image, rng)
        self.critic = build_critic(params.network, image, params.critic_width, params.dropout, rng, self.rng)
        self.average = build_generator(params.network, params.latent, image, rng)
        self.average.load_state_dict(self.generator.state_dict())
        for module in (self.generator, self.critic, self.average):
            module.to(device=device, memory_format=layout)  # type: ignore[call-overload]
            ranks.synchronise(module)
        for each in self.critic.modules():
            if isinstance(each, Dropout):
                each.ranks = ranks
        self.average.eval().requires_grad_(False)
        self.loss = find_loss(params.loss)
        self.generator_optimiser = make_optimiser(
            params.optimiser, self.generator.parameters(), params.rate_generator, self.loss.betas
        )
        self.critic_optimiser = make_optimiser(
            params.optimiser, self.critic.parameters(), params.rate_critic, self.loss.betas
        )
        self.crops, self.params, self.device, self.ranks = crops, params, device, ranks
        network = find_network(params.network)
        self.value_range, self.is_projected, self.facies = network.value_range, network.is_projected, network.facies
        if network.is_projected or params.energy > 0:
            self.features = FrozenFeatures(network.value_range, device)
        self.distance = self._energy_distance() if params.energy > 0 else None
        self.bf16 = params.bf16 and has_bf16(device)
        self.step = 0
        self.best_step = 0
        self.best_kid = math.inf
        self.best: dict[str, Tensor] = {}
        self.history: list[Record] = []

    @torch.no_grad()
    def _energy_distance(self) -> EnergyDistance:
        """To all crops."""
        batches = (self.crops[i : i + N_EMBEDDED] for i in range(0, len(self.crops), N_EMBEDDED))
        images = (self._to_network(crop_intensity(batch)) for batch in batches)
        return EnergyDistance([self._compared(image, self.features(image)) for image in images])

    def _compared(self, image: Tensor, maps: Maps) -> Maps:
        """What the energy distance is of: pooled features, and S2 of the facies where the network has them."""
        if self.facies is None:
            return pool(maps)
        low, high = self.value_range[self.facies]
        return *pool(maps), *two_point((image[:, self.facies] - low) / (high - low))

    def advance(self) -> dict[str, float]:
        """`n_critic` critic steps and a generator step; their losses and gradient norms."""
        start = time.perf_counter()
        reseed(self.rng, self.params.seed, STEP, self.step)
        self._anneal()
        metrics: dict[str, float] = {}
        # On a GPU some of cuDNN's kernels add up in the order in which they happen to end, and a thread of its own for
        # the backward pass numbers the penalty's nodes, hence orders their sums, otherwise in a process's first step.
        one_thread = torch.autograd.set_multithreading_enabled(False)
        with one_thread, torch.backends.cudnn.flags(enabled=True, deterministic=True):
            shared = self._view(self._generate()) if self.params.shares_batch else None
            for i_critic in range(self.params.n_critic):
                metrics = self._critic_step(self._batch(self.step * self.params.n_critic + i_critic), shared)
            metrics |= self._generator_step(shared)
        self._average()
        self.step += 1
        n_images = self.params.n_critic * self.params.batch
        return {**metrics, "images_per_second": n_images / (time.perf_counter() - start)}

    def sample(self, latents: Float32[np.ndarray, "n ..."]) -> Float32[np.ndarray, "n c h w"]:
        """Intensities of the averaged generator."""
        return to_intensity(sample(self.average, latents), self.value_range)

    def keep_if_best(self, kid: float | None) -> bool:
        """Keep the averaged generator where its KID is the least so far, or where it is not measured."""
        if kid is not None and not kid < self.best_kid:
            return False
        self.best_kid = math.inf if kid is None else kid
        self.best_step = self.step
        self.best = {name: each.detach().cpu().clone() for name, each in self.average.state_dict().items()}
        return True

    def _batch(self, i_batch: int) -> Tensor:
        return self.ranks.part(self._to_network(real_batch(self.crops, self.params, i_batch)))

    def _to_network(self, intensity: Float32[np.ndarray, "n c h w"]) -> Tensor:
        return torch.from_numpy(to_network(intensity, self.value_range)).to(self.device)

    def _view(self, image: Tensor) -> _View:
        return _View(image=image, maps=self.features(image) if self.is_projected else None)

    def _judge(self, view: _View) -> Tensor:
        value: Tensor = self.critic(view.image if view.maps is None else view.maps)
        return value

    def _generate(self) -> Tensor:
        z = torch.randn(self.params.batch, *self.params.latent, generator=self.rng, device=self.device)
        with self._autocast():
            image: Tensor = self.generator(self.ranks.part(z))
        return image.float()

    def _anneal(self) -> None:
        """Both rates fall linearly to 0 from `anneal_from` of the steps on."""
        left = (1 - self.step / self.params.n_steps) / max(1 - self.params.anneal_from, 1e-9)
        for optimiser, rate in (
            (self.generator_optimiser, self.params.rate_generator),
            (self.critic_optimiser, self.params.rate_critic),
        ):
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, left)

    def _critic_step(self, image: Tensor, shared: _View | None) -> dict[str, float]:
        """A step on real images, and on generated ones: `shared`, or its own."""
        with torch.no_grad():
            real = self._view(image)
            generated = self._view(self._generate()) if shared is None else shared.detached()
        self.critic_optimiser.zero_grad()
        with self._autocast():
            on_real, on_generated = self._judge(real), self._judge(generated)
            loss = self.loss.critic(on_real, on_generated)
            values = {"critic_loss": loss}
            if self.loss.penalty is not None:
                norms = gradient_norms(self.critic, interpolate(image, generated.image, self.rng, self.ranks))
                penalty = self.params.penalty * self.loss.penalty(norms)
                loss = loss + penalty
                values = {"critic_loss": loss, "penalty": penalty, "gradient_norm": norms.mean()}
                values["wasserstein"] = on_real.mean() - on_generated.mean()
        loss.backward()  # type: ignore[no-untyped-call]
        metrics = self._finite(values)
        self.ranks.average_gradients(self.critic.parameters())
        self.critic_optimiser.step()
        return metrics

    def _generator_step(self, shared: _View | None) -> dict[str, float]:
        """A step on `shared`, or on images of its own."""
        self.generator_optimiser.zero_grad()
        # Without this the critic's weight gradients would be computed too, and thrown away.
        self.critic.requires_grad_(False)
        view = self._view(self._generate()) if shared is None else shared
        with self._autocast():
            loss = self.loss.generator(self._judge(view))
        values = {"generator_loss": loss}
        if self.distance is not None:
            maps = self.features(view.image) if view.maps is None else view.maps
            compared = self._compared(view.image, maps)
            values["energy_distance"] = self.distance(tuple(self.ranks.gather(each) for each in compared))
            loss = loss + self.params.energy * values["energy_distance"]
        loss.backward()  # type: ignore[no-untyped-call]
        self.critic.requires_grad_(True)
        self.ranks.average_gradients(self.generator.parameters())
        gradients = [each.grad for each in self.generator.parameters() if each.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        metrics = self._finite({**values, "generator_gradient_norm": norm})
        if self.params.clip > 0:
            torch.nn.utils.clip_grads_with_norm_(self.generator.parameters(), self.params.clip, norm)
        self.generator_optimiser.step()
        return metrics

    @torch.no_grad()
    def _average(self) -> None:
        """Move the average on; a short one at first, or the untrained weights would stay in it for long."""
        # Not torch's AveragedModel: it averages all buffers, counts too, or none, and batch norm has of both kinds.
        decay = min(self.params.ema, (1 + self.step) / (10 + self.step))
        now = self.generator.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(now[name], 1 - decay)
            else:
                value.copy_(now[name])

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def _finite(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        means = self.ranks.mean(torch.stack([value.detach().float() for value in values.values()]))
        metrics = dict(zip(values, means.tolist(), strict=True))
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"{name} is {value} at step {self.step + 1} of {self.params.n_steps}: "
                    "lower rate_critic and rate_generator, raise the penalty or the batch, or set bf16 to false"
                )
        return metrics

    def replayed(self, latents: Float32[np.ndarray, "n ..."]) -> Iterator[Record]:
        """The records of the steps before a restart; that of the step that was saved with its samples of `latents`."""
        for record in self.history:
            samples = self.sample(latents) if record.step == self.step else None
            best = self.best if record.step >= self.best_step else {}
            yield replace(record, samples=samples, best=best, is_replayed=True)

    def about(self) -> dict[str, object]:
        """What a checkpoint holds beside the tensors, as JSON takes it."""
        history = [[each.step, each.metrics, each.is_best, each.best_step] for each in self.history]
        kid = self.best_kid if math.isfinite(self.best_kid) else None
        return {"step": self.step, "best_step": self.best_step, "best_kid": kid, "history": history}

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of a checkpoint: weights and the optimisers' moments."""
        return {
            **with_prefix("generator", self.generator.state_dict()),
            **with_prefix("critic", self.critic.state_dict()),
            **with_prefix("average", self.average.state_dict()),
            **with_prefix("best", self.best),
            **with_prefix("generator_optimiser", optimiser_tensors(self.generator_optimiser)),
            **with_prefix("critic_optimiser", optimiser_tensors(self.critic_optimiser)),
        }

    def restore(self, tensors: Mapping[str, Tensor], about: Mapping[str, object]) -> None:
        """Go on from a checkpoint's `tensors` and `about`."""
        for name in ("generator", "critic", "average"):
            getattr(self, name).load_state_dict(without_prefix(name, tensors))
        for name in ("generator_optimiser", "critic_optimiser"):
            restore_optimiser(getattr(self, name), without_prefix(name, tensors))
        self.best = without_prefix("best", tensors)
        saved = _Saved(**about)  # type: ignore[arg-type]
        self.step, self.best_step = saved.step, saved.best_step
        self.best_kid = math.inf if saved.best_kid is None else saved.best_kid
        self.history = [
            Record(step=step, metrics=metrics, is_best=is_best, best_step=best_step)
            for step, metrics, is_best, best_step in saved.history
        ]


@dataclass(frozen=True, kw_only=True)
class _Saved:
    identity: dict[str, object]
    step: int
    best_step: int
    best_kid: float | None
    history: list[tuple[int, dict[str, float], bool, int]]
