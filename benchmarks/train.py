"""Training images per second: a critic step of Table 1 as `fit` takes it, against a plain float32 loop.

Both are timed in turn in one process, and the medians compared: `python benchmarks/train.py`. The bar is 2 x on two
cores with bf16 instructions (AMX); without them bf16 is emulated and slower than float32.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rockbank.gan.losses import find_loss, gradient_norms, interpolate, make_optimiser
from rockbank.gan.networks import build_critic

SIZE = 64
RATE = 1e-4
WEIGHT = 10.0


def plain_critic() -> nn.Module:
    """Table 1's critic as one would first write it."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 5, 2, 2), nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 5, 2, 2), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),
        nn.Conv2d(128, 256, 5, 2, 2), nn.BatchNorm2d(256), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(256 * (SIZE // 8) ** 2, 1), nn.Flatten(0),
    )  # fmt: skip


def critic_step(critic: nn.Module, real: Tensor, generated: Tensor, *, bf16: bool) -> Callable[[], None]:
    """One WGAN-GP critic step on fixed batches."""
    optimiser = make_optimiser("rmsprop", critic.parameters(), RATE, (0.0, 0.9))
    loss = find_loss("wgan-gp")
    assert loss.penalty is not None
    penalty, rng = loss.penalty, torch.Generator().manual_seed(0)

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            value = loss.critic(critic(real), critic(generated))
            value = value + WEIGHT * penalty(gradient_norms(critic, interpolate(real, generated, rng)))
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def timed(step: Callable[[], None]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    """Time both in turn and print images per second and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    rng = torch.Generator().manual_seed(1)
    real, generated = (torch.rand(arguments.batch, 1, SIZE, SIZE, generator=rng) * 2 - 1 for _ in range(2))
    ours = build_critic("table1", (1, SIZE, SIZE), 64, 0.0, rng, None)
    steps = {
        "plain float32": critic_step(plain_critic(), real, generated, bf16=False),
        "ours, bf16 autocast": critic_step(ours, real, generated, bf16=True),
    }
    for step in steps.values():  # the first calls make the kernels
        step()
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.repeats):
        for name, step in steps.items():
            seconds[name].append(timed(step))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"critic step of Table 1, {SIZE} x {SIZE}, batch {arguments.batch}, {torch.get_num_threads()} threads")
    for name, median in medians.items():
        print(f"  {name:20} {median:6.3f} s  {arguments.batch / median:7.1f} images/s")
    plain, fast = medians.values()
    print(f"  ratio {plain / fast:.2f} (bar: 2)")


if __name__ == "__main__":
    main()
