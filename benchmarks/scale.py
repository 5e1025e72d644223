"""What one core does, and from it what a million samples a second, 10,000 members and 1 TB of scans take.

    python -m benchmarks.scale --model shale@champion --members reports/deepflow/times.json

The queue of the service is simulated (benchmarks/queueing.py) with the times that the service tells of its batches,
compared with the latencies and the throughput that a client sees of it, and then run for 1,000 replicas. Writes
docs/scale.md, its picture, and reports/scale.json. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from benchmarks.queueing import Times, at_random, closed, of_two, opened
from benchmarks.serving import load, service
from rockbank.core.files import read_json, sha256, write_json, write_text
from rockbank.core.provenance import git_commit
from rockbank.core.terminal import progress
from rockbank.data.cutting import cut_whole
from rockbank.data.manifest import Manifest, SegmentationRule, VolumeEntry
from rockbank.data.scans.reader import open_scan
from rockbank.executors.mailbox import Mailbox
from rockbank.mlops import registry
from tools.scale_page import FIGURE, PAGE, draw, page

REPORT = Path("reports/scale.json")
# Requests that come at random are watched so many times as long: few of them are the slowest hundredth.
AT_RANDOM = 4
# Of a replica's batch, and of the requests that are compared; connections of the client.
SIZES = (1, 2, 4, 8, 16)
CLOSED = ((16, 4), (4, 8))
OPEN = ((4, 0.5), (4, 0.7))
N_REPLICAS, N_OF_REQUEST = 1000, 4
LOADS = (0.5, 0.7, 0.8, 0.9)


def main() -> None:
    """Measure, compare, simulate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="shale@champion")
    parser.add_argument("--members", type=Path, default=Path("reports/deepflow/times.json"))
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement of the service")
    options = parser.parse_args()
    found: dict[str, Any] = {"git_commit": git_commit(Path(__file__).parent), "load": os.getloadavg()[0]}
    found["cores"] = os.cpu_count()
    found["member_cpu_seconds"] = statistics.median(read_json(options.members)["member_cpu_seconds"])
    with tempfile.TemporaryDirectory(prefix="rockbank-") as folder:
        found |= one_core(options.model, Path(folder))
    found |= of_service(options.model, options.seconds)
    found["replicas"] = of_replicas(found)
    write_json(REPORT, found)
    draw(found, FIGURE)
    write_text(PAGE, page(found))
    print(PAGE)


def one_core(model: str, folder: Path) -> dict[str, Any]:
    """Of the parts beside the service: the registry's reads, an executor's messages, scans read, hashed and cut."""
    entry = registry.resolve(model)
    n_bytes = 256 * 2**20
    path = folder / "scan.tif"
    slices = np.random.default_rng(0).integers(0, 256, (n_bytes // 2**20, 1024, 1024), dtype=np.uint8)
    tifffile.imwrite(path, slices)
    with open_scan(path) as source:
        read = _seconds(lambda: [source.read(i, i + 1) for i in range(source.shape[0])])
    entry_of_scan = VolumeEntry(
        file=path.name,
        voxel_size=1e-6,
        segmentation=SegmentationRule(smoothing=1.0, threshold="otsu"),
        licence="none",
        source="noise",
        sha256=sha256(path),
    )
    manifest = Manifest(volumes=(entry_of_scan,))
    cut = _seconds(lambda: cut_whole({"scan": slices}, manifest, size=64, n=4000, seed=0))
    mailbox, n = Mailbox(folder / "mailbox"), 2000
    sent = _seconds(lambda: [mailbox.put(i) for i in range(n)])
    taken = _seconds(lambda: list(mailbox.take()))
    return {
        "model": f"{entry.name}/{entry.version}",
        "alias_reads_per_second": 50 / _seconds(lambda: [registry.resolve(model) for _ in range(50)]),
        "scan_bytes_per_second": {"read": n_bytes / read, "sha256": n_bytes / _seconds(lambda: sha256(path)),
                                  "cut": n_bytes / cut},
        "messages_per_second": {"put": n / sent, "take": n / taken},
    }  # fmt: skip


def of_service(model: str, seconds: float) -> dict[str, Any]:
    """Its times, and what the simulation says of the same requests; the service has one thread, the client the rest."""
    name = model.partition("@")[0]
    with service(model, 1, max_queue=100_000, statistics_fraction=0) as url:
        path, body = f"{url}/v2/models/{name}/generate", '{"n": %d, "seed": SEED, "format": "npy"}'
        load(path, body % 16, 4, 2.0)
        lone = {n: load(path, body % n, 1, seconds / 4) for n in SIZES}
        before = _batches(url, name)
        times = _times(url, name, lone, before)
        rows = []
        with progress("comparing with the service", len(CLOSED) + len(OPEN)) as advance:
            for n, connections in CLOSED:
                seen = load(path, body % n, connections, seconds)
                times, before = _now(url, name, times, before)
                simulated = closed(times, n=n, connections=connections, seconds=20 * seconds, seed=0)
                rows.append(_row(f"{connections} connections, {n} a request", n, seen, simulated, 20 * seconds))
                advance(1)
            fastest = max(row["measured"]["samples_per_second"] for row in rows if row["n"] == N_OF_REQUEST)
            for n, part in OPEN:
                rate = part * fastest / n
                seen = load(path, body % n, 32, AT_RANDOM * seconds, rate=rate)
                times, before = _now(url, name, times, before)
                simulated = opened(times, n=n, rate=rate, seconds=20 * seconds, seed=0)
                rows.append(_row(f"at random, {part:.0%} load, {n} a request", n, seen, simulated, 20 * seconds))
                advance(1)
    batch = {str(size): time for size, time in times.batch.items()}
    return {"batch_seconds": batch, "overhead_seconds": times.overhead, "jitter": times.jitter.tolist(),
            "bytes_per_sample": seen["n_bytes"] / len(seen["seconds"]) / n, "comparison": rows}  # fmt: skip


def of_replicas(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Latencies of N_REPLICAS replicas with these times, by load and by who chooses the replica."""
    times = Times(batch={int(size): of for size, of in found["batch_seconds"].items()},
                  overhead=found["overhead_seconds"], jitter=np.array(found["jitter"]), max_wait=0.002)  # fmt: skip
    # What a replica can do with requests of this size, one after the other without a gap.
    most = max(size / of for size, of in times.batch.items())
    rows = []
    with progress(f"simulating {N_REPLICAS} replicas", 2 * len(LOADS)) as advance:
        for part in LOADS:
            rate = part * most / N_OF_REQUEST * N_REPLICAS
            for name, route in (("at random", at_random), ("the shorter of two", of_two)):
                latencies = opened(times, n=N_OF_REQUEST, rate=rate, seconds=3.0, seed=0, replicas=N_REPLICAS,
                                   route=route)  # fmt: skip
                # The first half fills the queues.
                kept = latencies[len(latencies) // 2 :]
                rows.append({"load": part, "route": name, "samples_per_second": rate * N_OF_REQUEST,
                             "p50": float(np.median(kept)), "p99": float(np.quantile(kept, 0.99))})  # fmt: skip
                advance(1)
    return rows


def _batches(url: str, name: str) -> dict[int, tuple[int, int]]:
    """Count and nanoseconds of the batches of each size so far."""
    with urllib.request.urlopen(f"{url}/v2/models/{name}/stats") as answer:
        (stats,) = json.loads(answer.read())["model_stats"]
    return {
        each["batch_size"]: (each["compute_infer"]["count"], each["compute_infer"]["ns"] + each["compute_output"]["ns"])
        for each in stats["batch_stats"]
    }


def _times(url: str, name: str, lone: dict[int, Any], now: dict[int, tuple[int, int]]) -> Times:
    batch = {size: ns / count / 1e9 for size, (count, ns) in now.items() if count}
    beside = [float(np.median(seen["seconds"])) - batch[min(size for size in batch if size >= n)]
              for n, seen in lone.items()]  # fmt: skip
    seconds = np.array(lone[16]["seconds"])
    return Times(batch=batch, overhead=max(statistics.median(beside), 1e-5), jitter=seconds / seconds.mean(),
                 max_wait=0.002)  # fmt: skip


def _now(url: str, name: str, times: Times, before: dict[int, tuple[int, int]]) -> tuple[Times, dict[int, Any]]:
    """The times with those of the batches since `before`: other work on the machine comes and goes."""
    after = _batches(url, name)
    batch = dict(times.batch)
    for size, (count, ns) in after.items():
        n, was = before.get(size, (0, 0))
        if count - n >= 20:
            batch[size] = (ns - was) / (count - n) / 1e9
    return Times(batch=batch, overhead=times.overhead, jitter=times.jitter, max_wait=times.max_wait), after


def _row(what: str, n: int, seen: dict[str, Any], simulated: np.ndarray, seconds: float) -> dict[str, Any]:
    pairs = {}
    for name, latencies, wall in (("measured", seen["seconds"], seen["wall"]), ("simulated", simulated, seconds)):
        rate, p99 = n * len(latencies) / wall, float(np.quantile(latencies, 0.99))
        pairs[name] = {"samples_per_second": rate, "p50": float(np.median(latencies)), "p99": p99}
    print(what, pairs)
    return {"what": what, "n": n, **pairs}


def _seconds(work: Any) -> float:
    """Of CPU."""
    began = time.process_time()
    work()
    return max(time.process_time() - began, math.ulp(1.0))


if __name__ == "__main__":
    main()
