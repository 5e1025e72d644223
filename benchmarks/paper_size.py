"""How long a generator of params/paper.yaml trains on this processor: python -m benchmarks.paper_size [GENERATOR ...]

A few steps of each, of shale-texture where none is named, as `fit` takes them, on crops of noise, which cost what rock
costs; the first step, which makes the kernels, does not count. Writes reports/paper_size.md.
"""

from __future__ import annotations

import argparse
import platform
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu import PAPER, to_table
from rockbank.core.files import write_text
from rockbank.core.heap import keep_freed_memory
from rockbank.gan.training import fit
from rockbank.gan.training_state import has_bf16
from rockbank.params import GeneratorParams, load_params

REPORT = Path("reports/paper_size.md")
CHANNELS = (3, 64, 128)


def main() -> None:
    """Measure each generator, print a line for it, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generators", nargs="*", default=["shale-texture"], metavar="GENERATOR")
    parser.add_argument("--steps", type=int, default=4, help="of each generator, after the first")
    options = parser.parse_args()
    n_steps: int = options.steps
    keep_freed_memory()
    params = load_params(PAPER)
    rows = []
    for name in options.generators:
        of = params.generator(name)
        shape = CHANNELS if of.family == "channels" else (1, params.prepare.size, params.prepare.size)
        rate = images_per_second(of, shape, n_steps)
        hours = of.n_steps * of.n_critic * of.batch / rate / 3600
        size = " x ".join(map(str, shape))
        rows.append((name, size, f"{of.batch}", f"{of.n_critic}", f"{of.n_steps}", f"{rate:.1f}", f"{hours:.1f}"))
        print(*rows[-1], flush=True)
    head = ("generator", "image", "batch", "critic steps", "steps", "images/s", "whole training, hours")
    bf16 = "with" if has_bf16(torch.device("cpu")) else "without"
    text = f"""# Trainings of the paper's size on a processor

Written by `python -m benchmarks.paper_size`: {n_steps} steps of each generator of {PAPER}, after the first,
on {platform.machine()} with {torch.get_num_threads()} threads and {bf16} bf16. Images are those that
the critic sees; hours are without evaluations.

{to_table(head, rows)}"""
    write_text(REPORT, text)


def images_per_second(of: GeneratorParams, shape: tuple[int, int, int], n_steps: int) -> float:
    """Median of the steps after the first."""
    crops = np.random.default_rng(0).integers(0, 256, (2 * of.batch, *shape), dtype=np.uint8)
    short = replace(of, n_steps=n_steps + 1, evaluate_every=n_steps + 1, spectral_steps=0)
    records = list(fit(crops, short, device=torch.device("cpu"), evaluate=None, n_samples=1, checkpoint=None))
    return statistics.median(record.metrics["images_per_second"] for record in records[1:])


if __name__ == "__main__":
    main()
