"""The service against bare onnxruntime and against `mlflow models serve`, in one run: python -m benchmarks.serving

The generator is one of the registry (--model shale@champion). Every process is measured in turn, A B A B, and the
median of the rounds counts: images a second at saturation, with 16 samples a request from a client process of four
connections; and what a lone request, one every now and then, takes longer than the session's own run, one every now
and then likewise: by the clock, and in CPU time of the service, which others on the machine disturb less. Pictures
are compared with the slower of the session and the encoder, each alone: with one thread for each, more cannot come.
Lone requests for JSON have a table of their own.
Writes reports/serving.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rockbank.core.files import write_text
from rockbank.generator.card import ONNX, ModelCard
from rockbank.generator.latents import draw_latents, latent_blocks
from rockbank.generator.sampler import open_session
from rockbank.mlops import registry
from serving.dataplane.encode import ENCODERS
from serving.inference.session import Generator

REPORT = Path("reports/serving.md")
N, CONNECTIONS = 16, 4
# Between lone requests: what runs once in a while finds other things in the caches than what runs in a loop.
PAUSE_SECONDS = 0.02
PICTURES = ("png", "zip", "tiff")
# Samples of a request that is answered in JSON: the usual one, and a large one.
N_JSON = (N, 680)
BARS = {"saturation": 0.95, "shared": 0.9, "pictures": 0.8, "mlflow": 20.0, "milliseconds": 1.5, "p99": 3.0}
START_SECONDS = 120.0


def main() -> None:
    """Measure, print, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="shale@champion")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bare", nargs=2, metavar=("FOLDER", "THREADS"), help=argparse.SUPPRESS)
    parser.add_argument("--encode", nargs=2, metavar=("FOLDER", "FORMAT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.encode:
        print(json.dumps({"images_per_second": encode(Path(options.encode[0]), options.encode[1], options.seconds)}))
        return
    if options.bare:
        print(json.dumps(bare(Path(options.bare[0]), int(options.bare[1]), options.seconds)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "pulled"
        entry, card = registry.pull(options.model, folder)
        cores = os.cpu_count() or 1
        found = {threads: compare(folder, options, threads) for threads in sorted({1, cores})}
        encoded = pictures(folder, options)
        as_json = json_answers(options)
        peer = mlflow_rate(folder, card, Path(temporary), options.seconds)
    text = to_markdown(f"{entry.name}/{entry.version}, {card.generator}", card, found, encoded, as_json, peer, options)
    write_text(REPORT, text)
    print(text)


def compare(folder: Path, options: argparse.Namespace, threads: int) -> dict[str, float]:
    """Medians over the rounds of what the bare session and the service do on so many threads."""
    name = options.model.partition("@")[0]
    path = f"/v2/models/{name}/generate"
    body = '{"n": %d, "seed": SEED, "format": "npy"}'
    names = ("bare", "service", "p99", "lone", "lone_bare", "lone_p99", "lone_bare_p99", "cpu", "cpu_bare", "latents")
    rows: dict[str, list[float]] = {name: [] for name in names}
    with service(options.model, threads) as url:
        load(url + path, body % N, CONNECTIONS, 2.0)
        for _ in range(options.rounds):
            of_bare = python(
                "benchmarks.serving", "--bare", str(folder), str(threads), "--seconds", str(options.seconds)
            )
            rows["bare"].append(of_bare["images_per_second"])
            rows["lone_bare"].append(of_bare["milliseconds"])
            rows["lone_bare_p99"].append(of_bare["milliseconds_p99"])
            rows["cpu_bare"].append(of_bare["cpu_milliseconds"])
            rows["latents"].append(of_bare["latents_milliseconds"])
            busy = load(url + path, body % N, CONNECTIONS, options.seconds)
            rows["service"].append(N * len(busy["seconds"]) / busy["wall"])
            rows["p99"].append(1e3 * float(np.quantile(busy["seconds"], 0.99)))
            before = cpu_seconds(url)
            lone = load(url + path, body % 1, 1, options.seconds, pause=PAUSE_SECONDS)
            rows["cpu"].append(1e3 * (cpu_seconds(url) - before) / len(lone["seconds"]))
            rows["lone"].append(1e3 * statistics.median(lone["seconds"]))
            rows["lone_p99"].append(1e3 * float(np.quantile(lone["seconds"], 0.99)))
    return {what: statistics.median(values) for what, values in rows.items()}


def pictures(folder: Path, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Medians over the rounds, for each format: images a second of the encoder alone and of the service."""
    url_path = f"/v2/models/{options.model.partition('@')[0]}/generate"
    rows: dict[str, dict[str, list[float]]] = {name: {"encoder": [], "service": []} for name in PICTURES}
    with service(options.model, 1) as url:
        for _ in range(options.rounds):
            for name, row in rows.items():
                seconds = ("--seconds", str(options.seconds))
                alone = python("benchmarks.serving", "--encode", str(folder), name, *seconds)
                row["encoder"].append(alone["images_per_second"])
                body = f'{{"n": {N}, "seed": SEED, "format": "{name}"}}'
                busy = load(url + url_path, body, CONNECTIONS, options.seconds)
                row["service"].append(N * len(busy["seconds"]) / busy["wall"])
    return {name: {what: statistics.median(values) for what, values in row.items()} for name, row in rows.items()}


def json_answers(options: argparse.Namespace) -> dict[int, dict[str, float]]:
    """Medians over the rounds, by samples of a lone request for JSON: its seconds, and megabytes of the answer."""
    path = f"/v2/models/{options.model.partition('@')[0]}/generate"
    rows: dict[int, dict[str, list[float]]] = {n: {"seconds": [], "megabytes": []} for n in N_JSON}
    with service(options.model, 1) as url:
        for _ in range(options.rounds):
            for n, row in rows.items():
                seen = load(url + path, f'{{"n": {n}, "seed": SEED, "format": "json"}}', 1, options.seconds)
                row["seconds"].append(statistics.median(seen["seconds"]))
                row["megabytes"].append(seen["n_bytes"] / len(seen["seconds"]) / 1e6)
    return {n: {what: statistics.median(values) for what, values in row.items()} for n, row in rows.items()}


def encode(folder: Path, format_: str, seconds: float) -> float:
    """Images a second of a format's encoder on one thread, from samples that are there."""
    card = ModelCard.load(folder)
    session = open_session(folder / ONNX, threads=1)
    low, high = card.value_range[0]
    images = (session.run(None, {"latent": draw_latents(0, N, card.latent_shape)})[0] - low) / (high - low)
    start, n = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        encoder = ENCODERS[format_](images.shape, card.voxel_size, {})
        encoder.head(), encoder.block(images), encoder.tail()
        n += N
    return n / (time.perf_counter() - start)


def bare(folder: Path, threads: int, seconds: float) -> dict[str, float]:
    """Images a second of the session itself with full batches; milliseconds of one image, by the clock and of CPU.

    And milliseconds of drawing one image's latents as the service does, once in a while too: no run of the session has
    that in it.
    """
    card = ModelCard.load(folder)
    session = open_session(folder / ONNX, threads=threads)
    latents = draw_latents(0, N, card.latent_shape)
    session.run(None, {"latent": latents})
    start, n = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        session.run(None, {"latent": latents})
        n += N
    rate, one, cpu = n / (time.perf_counter() - start), [], time.process_time()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        time.sleep(PAUSE_SECONDS)
        start = time.perf_counter()
        session.run(None, {"latent": latents[:1]})
        one.append(1e3 * (time.perf_counter() - start))
    cpu, drawn, n_read = time.process_time() - cpu, [], Generator(folder, card, threads=1).n_read
    for seed in range(100):
        time.sleep(PAUSE_SECONDS)
        start = time.perf_counter()
        next(latent_blocks(seed, 1, card.latent_shape, size=1, lattice=card.lattice, n_read=n_read))
        drawn.append(1e3 * (time.perf_counter() - start))
    return {
        "images_per_second": rate,
        "milliseconds": statistics.median(one),
        "milliseconds_p99": float(np.quantile(one, 0.99)),
        "cpu_milliseconds": 1e3 * cpu / len(one),
        "latents_milliseconds": statistics.median(drawn),
    }


def cpu_seconds(url: str) -> float:
    """CPU time that the service has taken so far."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        found = re.search(rb"^process_cpu_seconds_total (\S+)$", answer.read(), re.MULTILINE)
    assert found is not None
    return float(found[1])


def mlflow_rate(folder: Path, card: ModelCard, temporary: Path, seconds: float) -> float:
    """Images a second of the same graph behind `mlflow models serve`, in its own protocol."""
    import mlflow
    import onnx

    model = temporary / "mlflow_model"
    mlflow.onnx.save_model(
        onnx.load(folder / ONNX), str(model), pip_requirements=["onnxruntime-gpu"], save_as_external_data=False
    )
    port = free_port()
    command = [shutil.which("mlflow") or "mlflow", "models", "serve", "-m", str(model), "-h", "127.0.0.1"]
    with process([*command, "-p", str(port), "--env-manager", "local", "--workers", "1"], {}):
        wait_for(f"http://127.0.0.1:{port}/ping")
        latents = draw_latents(0, N, card.latent_shape)
        body = json.dumps({"inputs": {"latent": latents.tolist()}})
        url = f"http://127.0.0.1:{port}/invocations"
        load(url, body, 1, 30.0, requests=1)
        busy = load(url, body, CONNECTIONS, max(seconds, 20.0))
    return N * len(busy["seconds"]) / busy["wall"]


@contextmanager
def service(model: str, threads: int, **settings: Any) -> Iterator[str]:
    """`python -m serving` on a free port; its URL."""
    given = {
        "models": model,
        "port": 0,
        "threads": threads,
        "shutdown_delay_seconds": 0,
        "log_level": "WARNING",
    } | settings
    with tempfile.TemporaryDirectory() as cache:
        environment = {f"ROCKBANK_{key.upper()}": str(value) for key, value in ({"cache": cache} | given).items()}
        with process([sys.executable, "-m", "serving"], environment) as running:
            assert running.stdout is not None
            for line in running.stdout:
                if found := re.search(r"serving on (http://\S+)", line):
                    yield found.group(1)
                    return
            raise SystemExit("the service did not start; its error stands above")


@contextmanager
def process(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block."""
    running = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def load(
    url: str, body: str, connections: int, seconds: float, *, requests: int = 0, pause: float = 0.0, rate: float = 0.0
) -> dict[str, Any]:
    """What a client process saw; every answer has to be a 200.

    Raises:
        SystemExit: one was not, with what was wrong.
    """
    given = {"connections": connections, "seconds": seconds, "requests": requests, "pause": pause, "rate": rate}
    # The latents of an endless generator are more than a command line takes.
    options = (f"--{key}={value}" for key, value in given.items())
    seen = python("benchmarks.load", url, "-", *options, standard_input=body)
    if set(seen["statuses"]) != {"200"}:
        raise SystemExit(f"{url}: answered {seen['statuses']}; {seen['errors']}")
    return seen


def python(module: str, *arguments: str, standard_input: str = "") -> dict[str, Any]:
    """The JSON that a module prints, run in a process of its own."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, input=standard_input, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def wait_for(url: str) -> None:
    """Until it answers.

    Raises:
        SystemExit: it does not in time.
    """
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"{url}: no answer in {START_SECONDS:g} s")


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def to_markdown(
    what: str,
    card: ModelCard,
    found: Mapping[int, Mapping[str, float]],
    encoded: Mapping[str, Mapping[str, float]],
    as_json: Mapping[int, Mapping[str, float]],
    peer: float,
    options: argparse.Namespace,
) -> str:
    """The report."""
    lines = [
        "# How fast the service is",
        "",
        f"Written by `python -m benchmarks.serving`; every number is of one run, on {platform.machine()} with "
        f"{os.cpu_count()} cores, medians of {options.rounds} rounds of {options.seconds:g} s. Service, client and "
        "bare session are processes of their own; the client shares the cores with the service. The load average was "
        f"{os.getloadavg()[2]:.1f} at the end.",
        "",
        f"Generator: {what}, images of {' x '.join(map(str, card.image_shape))}. Requests: `generate`, n = {N}, npy, "
        f"{CONNECTIONS} connections; a lone request is n = 1, {1e3 * PAUSE_SECONDS:g} ms after the last, and so is a "
        "bare run.",
        "",
        "| onnxruntime's threads | bare session, images/s | service, images/s | ratio | p99, ms | lone request, ms "
        "| bare run, ms | added, ms | of it latents, ms | added at p99, ms | added CPU, ms |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for threads, of in found.items():
        lines.append(
            f"| {threads} | {of['bare']:.0f} | {of['service']:.0f} | {of['service'] / of['bare']:.2f} "
            f"| {of['p99']:.0f} | {of['lone']:.2f} | {of['lone_bare']:.2f} | {of['lone'] - of['lone_bare']:.2f} "
            f"| {of['latents']:.2f} "
            f"| {of['lone_p99'] - of['lone_bare_p99']:.2f} | {of['cpu'] - of['cpu_bare']:.2f} |"
        )
    least, most = found[min(found)], found[max(found)]
    saturation, added = least["service"] / least["bare"], least["lone"] - least["lone_bare"]
    added_p99 = least["lone_p99"] - least["lone_bare_p99"]
    over = most["service"] / peer
    rows = [
        (f"throughput at saturation, of bare onnxruntime on {min(found)} thread", f"{saturation:.2f}",
         f">= {BARS['saturation']}", saturation >= BARS["saturation"]),
        (f"the same on {max(found)} threads, which the client wants too", f"{most['service'] / most['bare']:.2f}",
         f">= {BARS['shared']}", most["service"] / most["bare"] >= BARS["shared"]),
        ("added latency of a lone request at the median, ms", f"{added:.2f}", f"<= {BARS['milliseconds']:g}",
         added <= BARS["milliseconds"]),
        ("the same at p99, ms", f"{added_p99:.2f}", f"<= {BARS['p99']:g}", added_p99 <= BARS["p99"]),
        *_of_pictures(least, encoded),
        (f"of `mlflow models serve`, {peer:.1f} images/s", f"{over:.1f} x", f">= {BARS['mlflow']:g} x",
         over >= BARS["mlflow"]),
    ]  # fmt: skip
    lines += ["", "| | got | bar | met |", "|---|---:|---:|---|"]
    lines += [f"| {name} | {got} | {bar} | {'yes' if met else '**no**'} |" for name, got, bar, met in rows]
    lines += ["", *_of_json(least, as_json)]
    return "\n".join(lines) + "\n"


def _of_json(least: Mapping[str, float], as_json: Mapping[int, Mapping[str, float]]) -> Iterator[str]:
    yield "| lone request for JSON, 1 thread | seconds | MB | images/s | of bare onnxruntime on 1 thread |"
    yield "|---|---:|---:|---:|---:|"
    for n, of in as_json.items():
        rate = n / of["seconds"]
        yield f"| n = {n} | {of['seconds']:.2f} | {of['megabytes']:.1f} | {rate:.0f} | {rate / least['bare']:.2f} |"


def _of_pictures(
    least: Mapping[str, float], encoded: Mapping[str, Mapping[str, float]]
) -> Iterator[tuple[str, str, str, bool]]:
    for name, of in encoded.items():
        ratio = of["service"] / min(of["encoder"], least["bare"])
        about = f"session {least['bare']:.0f} images/s, encoder {of['encoder']:.0f}, 1 thread each"
        yield (
            f"{name} at saturation: the service's images/s by those of the slower of both ({about})",
            f"{ratio:.2f}",
            f">= {BARS['pictures']}",
            ratio >= BARS["pictures"],
        )


if __name__ == "__main__":
    main()
