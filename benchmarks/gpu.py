"""Training, sampling and the flow solver on a GPU, against the processor beside it: python -m benchmarks.gpu GENERATOR

GENERATOR is a folder of an exported generator, such as artifacts/export/channels-wgan-lp. Every number is of one
run on one machine. Training is the shale paper's size, params/paper.yaml; the flow's case is cases/deepflow.yaml.
Writes reports/gpu.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from rockbank.core.files import write_text
from rockbank.flow.case import Case
from rockbank.flow.casefile.file import load_case
from rockbank.flow.equations.options import Options
from rockbank.flow.simulate import simulate
from rockbank.gan.training import fit
from rockbank.gan.weights import load_generator, sample
from rockbank.generator.card import ONNX, WEIGHTS, ModelCard
from rockbank.generator.latents import draw_latents
from rockbank.generator.sampler import CUDA, open_session, provider
from rockbank.params import load_params
from serving.inference.session import Generator

REPORT = Path("reports/gpu.md")
PAPER, TRAINED = Path("params/paper.yaml"), "shale-wgan-gp"
CASE = Path("cases/deepflow.yaml")
BATCH = 16
GPU, CPU = torch.device("cuda"), torch.device("cpu")


def main() -> None:
    """Measure, print, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", type=Path)
    parser.add_argument("--steps", type=int, default=30, help="of training on the GPU; the first five do not count")
    parser.add_argument("--reports", type=int, default=37, help="report steps of the flow's case")
    parser.add_argument("--members", type=int, nargs="+", default=[1, 16, 64, 256], help="of the flow solver, at once")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch finds no GPU: there is nothing to measure here")
    sections = {
        "Training": lambda: training(options.steps),
        "Sampling": lambda: sampling(options.generator),
        "Flow": lambda: flow(options.reports, options.members),
    }
    text = f"""# On a GPU

Written by `python -m benchmarks.gpu {" ".join(sys.argv[1:])}`; every number is of one run on one machine:
{device_name()}, {os.cpu_count()} cores beside it, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}.
"""
    print(text, flush=True)
    for title, measure in sections.items():
        section = f"\n## {title}\n\n{measure()}"
        print(section, flush=True)
        text += section
    write_text(REPORT, text)


def device_name() -> str:
    """Of the GPU, with its memory."""
    about = torch.cuda.get_device_properties(0)
    return f"{about.name} ({about.total_memory / 2**30:.0f} GiB)"


def training(n_steps: int) -> str:
    """Images a second of the paper's training."""
    params = load_params(PAPER)
    size, of = params.prepare.size, params.generators[TRAINED]
    crops = np.random.default_rng(0).integers(0, 256, (2 * of.batch, 1, size, size), dtype=np.uint8)

    def rate(device: torch.device, steps: int, warm: int, *, bf16: bool) -> float:
        short = replace(of, n_steps=steps, evaluate_every=steps, bf16=bf16)
        records = list(fit(crops, short, device=device, evaluate=None, n_samples=1, checkpoint=None))
        return statistics.median(record.metrics["images_per_second"] for record in records[warm:])

    fast, plain = (rate(GPU, n_steps, 5, bf16=bf16) for bf16 in (True, False))
    beside = rate(CPU, 2, 1, bf16=True)
    hours = of.n_steps * of.n_critic * of.batch / fast / 3600
    rows = [
        ("bf16, as params/paper.yaml asks", f"{fast:.0f}", f"{fast / beside:.0f}"),
        ("float32", f"{plain:.0f}", f"{plain / beside:.0f}"),
        ("the processor, all cores", f"{beside:.1f}", "1"),
    ]
    return f"""{TRAINED} of {PAPER}: {size} x {size} pixels, batches of {of.batch}, {of.n_critic} critic steps for each
of the generator; images are those that the critic sees.

{to_table(("", "images/s", "ratio"), rows)}
The whole training, {of.n_steps} steps, takes {hours:.1f} h in bf16 without its evaluations, and
{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most, in float32.
"""


def sampling(folder: Path) -> str:
    """Images a second of a served generator, by every way of running it."""
    card = ModelCard.load(folder)
    latents = draw_latents(0, BATCH, card.latent_shape)
    session = open_session(folder / ONNX)
    if provider(session) != CUDA:
        sys.exit(f"onnxruntime runs on {provider(session)}; look at the driver and the CUDA libraries")
    bound, replayed = (Generator(folder, card, max_batch=BATCH, cuda_graphs=graphs) for graphs in (False, True))
    plain = load_generator(folder / WEIGHTS, network=card.network, latent=card.latent_shape, image=card.image_shape)
    beside = onnxruntime.InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])
    runs: dict[str, Callable[[np.ndarray], object]] = {
        "the processor, all cores": lambda z: beside.run(None, {"latent": z}),
        "torch": lambda z: sample(plain, z),
        "onnxruntime": lambda z: session.run(None, {"latent": z}),
        "onnxruntime, memory bound, as it is served": bound.run,
        "the same, replaying a CUDA graph": replayed.run,
    }
    plain.to(GPU)
    torch.backends.cudnn.allow_tf32 = False
    batches = {name: seconds(lambda run=run: run(latents), repeats=200) for name, run in runs.items()}
    lone = {name: seconds(lambda run=run: run(latents[:1]), repeats=200) for name, run in runs.items()}
    (slowest, *_) = batches.values()
    rows = [
        (name, f"{BATCH / batches[name]:.0f}", f"{slowest / batches[name]:.1f}", f"{1e3 * lone[name]:.2f}")
        for name in runs
    ]
    exact = beside.run(None, {"latent": latents})[0]
    worst = max(float(np.abs(each.run(latents) - exact).max()) for each in (bound, replayed))
    size = " x ".join(map(str, card.image_shape))
    return f"""{card.generator}: images of {size}, in float32 without TF32, from latents in the processor's memory
to images there.

{to_table(("", f"images/s, {BATCH} at once", "ratio", "one image, ms"), rows)}
Images differ from the processor's by {worst:.1e} at most, the golden sample from its card's by
{max(bound.golden_difference(), replayed.golden_difference()):.1e}. Batches that give the bits of the largest one: of
{", ".join(map(str, bound.buckets))} (bound), of {", ".join(map(str, replayed.buckets))} (by graphs).
"""


def flow(n_reports: int, members: list[int]) -> str:
    """Members a second, forwards and back, of the block solver on the GPU and of of the processor alone."""
    case = load_case(CASE)
    steps = case.schedule.steps[:n_reports]
    controls = {well.name: case.schedule.of(well.name)[:n_reports] for well in case.wells}
    case = replace(case, schedule=replace(case.schedule, steps=steps, controls=controls))
    block, slabs = Options(method="newton", solver="block"), Options(method="newton", solver="slabs")
    cores = os.cpu_count() or 1
    gradients(case, 1, GPU, block)  # loads the libraries
    gradients(case, 1, CPU, slabs)
    gradients(case, 1, CPU, Options())
    of_slabs, newton_rate = gradients(case, cores, CPU, slabs, workers=cores)
    _, own_rate = gradients(case, cores, CPU, Options(), workers=cores)
    rows = [("the processor's default, sequential", f"{cores}", f"{own_rate:.2f}", f"{own_rate / newton_rate:.1f}"),
            ("the processor, Newton's method by slabs", f"{cores}", f"{newton_rate:.2f}", "1")]  # fmt: skip
    worst = 0.0
    for n in members:
        of_block, rate = gradients(case, n, GPU, block)
        rows.append(("the GPU, Newton's method by blocks", f"{n}", f"{rate:.2f}", f"{rate / newton_rate:.2f}"))
        same = min(n, cores)
        worst = max(worst, float((of_block[:same] - of_slabs[:same]).abs().max() / of_slabs.abs().max()))
    size = " x ".join(map(str, case.rock.grid.shape))
    return f"""{case.title}: {size} cells, {n_reports} report steps; a run and the gradient of one number of what
its wells show. The processor shares its members out among {cores} threads.

{to_table(("", "members", "members/s", "ratio"), rows)}
Gradients in the permeability differ by {worst:.1e} of their largest between GPU and processor, by Newton's method on
both.
"""


def gradients(
    case: Case, n_members: int, device: torch.device, options: Options, workers: int = 1
) -> tuple[torch.Tensor, float]:
    """Of what the wells show, squared, in log k; and members a second. Members are about the case's rock."""
    noise = torch.stack([
        torch.randn(case.rock.grid.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(i))
        for i in range(n_members)
    ])  # fmt: skip
    log_k = (case.rock.permeability.log() + 0.3 * noise).to(device).requires_grad_()
    start = time.perf_counter()
    rock = replace(case.rock, permeability=log_k.exp(), porosity=case.rock.porosity.to(device))
    result = simulate(rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=options,
                      workers=workers)  # fmt: skip
    shown = torch.stack([result.bhp / 1e7, result.water_rate / 1e-4, result.oil_rate / 1e-4])
    (found,) = torch.autograd.grad(shown.square().sum(), [log_k])
    found = found.cpu()
    return found, n_members / (time.perf_counter() - start)


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Of one call, the median; three first ones do not count."""
    times = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[3:])


def to_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Markdown, numbers to the right."""
    lines = [head, ("---", *["---:"] * (len(head) - 1)), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
