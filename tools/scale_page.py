"""docs/scale.md and its picture, of what `python -m benchmarks.scale` measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rockbank.plot.figures import BLUE, GREY, ORANGE, drawing, tidy

PAGE, FIGURE = Path("docs/scale.md"), Path("docs/pictures/scale_replicas.png")
SAMPLES, MEMBERS, SCAN_BYTES = 1e6, 1e4, 1e12
# A replica in ten is spare: the load that the simulated p99 bears.
LOAD = 0.8
POLL_SECONDS = 10.0
# What the simulated queue may be off.
WITHIN = 0.15
GIGABIT = 1e9 / 8


def page(found: dict[str, Any]) -> str:
    """The page."""
    return (
        "\n\n".join(["# Scale", _intro(found), _samples(found), _members(found), _scans(found), _queue(found)]) + "\n"
    )


def draw(found: dict[str, Any], path: Path) -> None:
    """p99 of a thousand replicas by their load."""
    with drawing(path, (6.0, 3.2)) as figure:
        axis = figure.subplots()
        for colour, route in ((ORANGE, "at random"), (BLUE, "the shorter of two")):
            rows = [row for row in found["replicas"] if row["route"] == route]
            loads = [row["load"] for row in rows]
            axis.plot(loads, [1e3 * row["p99"] for row in rows], "o-", color=colour, label=f"99 %, {route}")
            axis.plot(loads, [1e3 * row["p50"] for row in rows], ":", color=colour, label=f"median, {route}")
        axis.axvline(LOAD, color=GREY, linewidth=0.8)
        axis.set_xlabel("load, part of what full batches would give")
        axis.set_ylabel("latency, ms")
        axis.set_yscale("log")
        axis.legend(loc="best", frameon=False)
        tidy(axis)


def _intro(found: dict[str, Any]) -> str:
    return (
        "Written by `python -m benchmarks.scale`: what one core did, and what follows of it. "
        f"Measured at commit {found['git_commit'][:12]} on {found['cores']} cores with a load average of "
        f"{found['load']:.1f} when it began; the clock's numbers are the slower for it. Costs are in core hours: "
        "multiply by your price."
    )


def _samples(found: dict[str, Any]) -> str:
    largest = max(found["batch_seconds"], key=int)
    a_core = int(largest) / found["batch_seconds"][largest]
    cores = SAMPLES / a_core / LOAD
    gigabits = SAMPLES * found["bytes_per_sample"] / GIGABIT
    reads = cores / POLL_SECONDS
    return f"""## A million samples a second

{found["model"]}, one thread: a batch of {largest} takes {1e3 * found["batch_seconds"][largest]:.1f} ms, which is
{a_core:.0f} samples a second.

| | |
|---|---|
| replicas of one core, at {LOAD:.0%} load | {cores:,.0f} |
| core hours an hour | {cores:,.0f} |
| bytes of float32 a second | {gigabits:,.0f} Gbit/s |
| reads of the alias, each replica every {POLL_SECONDS:.0f} s | {reads:,.0f} a second |
| reads that one core of the registry's client makes | {found["alias_reads_per_second"]:,.0f} a second |

The network breaks first: {math.ceil(gigabits / 10)} links of 10 Gbit/s carry the samples, so clients have to be near
the replicas, or take PNG or statistics in place of float32. The registry is next: {reads:,.0f} reads a second of
aliases are {reads / found["alias_reads_per_second"]:.1f} cores of its clients' work alone. Raise
`ROCKBANK_POLL_SECONDS`, and let its webhook tell of a new champion."""


def _members(found: dict[str, Any]) -> str:
    hours = MEMBERS * found["member_cpu_seconds"] / 3600
    messages = found["messages_per_second"]
    n_cores = 1000
    rate = n_cores / found["member_cpu_seconds"] * 10
    return f"""## Ten thousand members

A member of the DeepFlow match takes {found["member_cpu_seconds"]:.0f} CPU s to J <= 2
(`python -m benchmarks.matching.match`).

| | |
|---|---|
| core hours | {hours:,.0f} |
| on {n_cores:,} cores | {3600 * hours / n_cores / 60:.0f} min |
| messages of ten iterations a member, on {n_cores:,} cores | {rate:,.0f} a second |
| messages that the driver takes from the shared folder | {messages["take"]:,.0f} a second |
| messages that a worker puts there | {messages["put"]:,.0f} a second |

Members do not speak to each other, so cores are the only cost. What breaks first is the shared file system, which
holds a checkpoint and a message for each iteration: its writes a second, not the driver, which is busy for
{100 * rate / messages["take"]:.1f} % of its time."""


def _scans(found: dict[str, Any]) -> str:
    speeds = found["scan_bytes_per_second"]
    rows = "\n".join(
        f"| {what} | {speeds[key] / 1e6:,.0f} MB/s | {SCAN_BYTES / speeds[key] / 3600:.2f} |"
        for key, what in (
            ("read", "read, slice by slice"),
            ("sha256", "SHA-256"),
            ("cut", "crops and Otsu's threshold"),
        )
    )
    return f"""## A terabyte of scans

Uncompressed 8-bit TIFF.

| | one core | core hours of 1 TB |
|---|---|---|
{rows}

Reading is what breaks first: one core reads {speeds["read"] / 1e9:.1f} GB/s of what lies in memory, more than most
disks give. The threshold is found on a part of the pixels, and crops are read from their slices alone, so that a
terabyte's crops take as long as its bytes take to come."""


def _queue(found: dict[str, Any]) -> str:
    rows = []
    for row in found["comparison"]:
        measured, simulated = row["measured"], row["simulated"]
        rate = simulated["samples_per_second"] / measured["samples_per_second"] - 1
        p99 = simulated["p99"] / measured["p99"] - 1
        rows.append(
            f"| {row['what']} | {measured['samples_per_second']:.0f} | {rate:+.0%} | {1e3 * measured['p99']:.0f} "
            f"| {p99:+.0%} | {'yes' if max(abs(rate), abs(p99)) <= WITHIN else '**no**'} |"
        )
    at = [row for row in found["replicas"] if row["load"] == LOAD]
    blind, chosen = (next(row for row in at if row["route"] == route) for route in ("at random", "the shorter of two"))
    table = "\n".join(rows)
    return f"""## A thousand replicas

The service as a queue of requests, batches and replicas, simulated (`benchmarks/queueing.py`; the figure too is of
`python -m benchmarks.scale`) with the times that it
tells of its own batches. Beside the real one, of one thread:

| requests | samples a second | simulated | p99, ms | simulated | both within {WITHIN:.0%} |
|---|---|---|---|---|---|
{table}

![99th percentile of 1,000 replicas by load](pictures/scale_replicas.png)

A thousand replicas of these times at {LOAD:.0%} load give {blind["samples_per_second"]:,.0f} samples a second. Where a
balancer chooses at random, 99 % of the requests are answered within {1e3 * blind["p99"]:.0f} ms; where the shorter of
two queues is taken, as Ray Serve does, within {1e3 * chosen["p99"]:.0f} ms."""
