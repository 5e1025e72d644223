"""Samples of a registered generator to a file: by this machine, or by a server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from rockbank.core.errors import InputError
from rockbank.core.files import read_json, require_writable
from rockbank.core.terminal import Advance, progress
from rockbank.executors.choose import LOCAL, check_executor, open_executor
from rockbank.generator.card import REFERENCE
from rockbank.generator.conditional import MAX_TRIES, Condition, accepted
from rockbank.generator.windows import Window, field_of, n_tiles
from rockbank.generator.writers import (
    check_image,
    check_samples,
    check_suffix,
    write_batches,
    write_images,
    write_samples,
)
from rockbank.workflows.sample_tasks import setup_of, spread

# A smaller count is there before a bar could be read.
_N_BAR = 64


def sample_here(
    model: str,
    path: Path,
    n: int,
    seed: int,
    truncation: float | None,
    condition: Condition | None = None,
    executor: str = LOCAL,
    workers: int | None = None,
) -> str:
    """Pull `model` from the registry and sample it on this machine, or by an executor; says what was written.

    Raises:
        InputError: where the rock has nothing that meets the condition, or for a file that cannot hold the samples.
        TooRare: where the generator gives too little of it.
    """
    from rockbank.generator.sampler import Sampler
    from rockbank.mlops import registry

    check_suffix(path)
    check_executor(executor, workers)
    if condition is not None and executor != LOCAL:
        raise InputError(f"executor: got '{executor}' with a {condition}, which is looked for one batch after another; "
                         "leave one of them out")  # fmt: skip
    require_writable(path)
    # On a cluster, in a file system that its machines share.
    shared = None if executor == LOCAL else path.absolute().parent
    with tempfile.TemporaryDirectory(prefix=".sampling-", dir=shared) as temporary:
        folder = Path(temporary) / "pulled"
        entry, card = registry.pull(model, folder)
        check_samples(path, n, card.image_shape)
        origin = f"{entry.name}/{entry.version} ({card.generator}), seed {seed}"

        def write(batches: Iterable[Float32[np.ndarray, "b c h w"]]) -> None:
            write_batches(path, batches, n=n, image=card.image_shape, voxel_size=card.voxel_size)

        if executor != LOCAL:
            with open_executor(executor, setup_of(folder), workers, Path(temporary) / "executor") as opened:
                write(spread(opened, seed, n, truncation))
            return f"wrote {path}: {n} of {origin}, by {executor}"
        sampler = Sampler(folder, card)
        if condition is None:
            with _bar(model, n) as advance:
                write(_counted(sampler.batches(seed, n, truncation), advance))
            return f"wrote {path}: {n} of {origin}"
        condition.check(read_json(folder / REFERENCE))
        places: list[int] = []
        batches = sampler.batches(seed, n * MAX_TRIES, truncation)
        with progress(f"sampling {model}", n) as advance:
            kept = accepted(
                batches,
                condition,
                card.segmentation,
                n,
                on_batch=lambda n_found, n_tried: advance(0, f"{n_tried} sampled"),
            )
            write(_one_by_one(kept, places, advance))
    return f"wrote {path}: {n}{_met(condition, places)} of {origin}"


def _bar(model: str, n: int) -> AbstractContextManager[Advance]:
    return progress(f"sampling {model}", n) if n >= _N_BAR else nullcontext(_say_nothing)


def _say_nothing(steps: float = 1, says: str = "") -> None:
    pass


def _counted(
    batches: Iterable[Float32[np.ndarray, "b c h w"]], advance: Advance
) -> Iterator[Float32[np.ndarray, "b c h w"]]:
    for batch in batches:
        yield batch
        advance(len(batch))


def _one_by_one(
    kept: Iterable[tuple[int, Float32[np.ndarray, "c h w"]]], places: list[int], advance: Advance
) -> Iterator[Float32[np.ndarray, "1 c h w"]]:
    """The samples that are kept, as batches of one; their places among the seed's are added to `places`."""
    for place, sample in kept:
        places.append(place)
        advance(1)
        yield sample[None]


def _met(condition: Condition, places: Sequence[int] | None) -> str:
    return f" with a {condition}" + (f", the first among {places[-1] + 1} samples" if places else "")


def window_here(model: str, path: Path, window: Window, n: int, seed: int, truncation: float | None) -> str:
    """Pull an endless generator and write a window of its images 0 to `n` - 1 of a seed; memory does not grow with it.

    Raises:
        InputError: where the generator is not endless, or for a file that cannot hold it; before anything is computed.
    """
    from rockbank.generator.sampler import Sampler
    from rockbank.mlops import registry

    check_image(path, n, window.height, window.width)
    with tempfile.TemporaryDirectory() as temporary:
        entry, card = registry.pull(model, Path(temporary) / "pulled")
        lattice = field_of(card, seed).lattice
        sampler = Sampler(Path(temporary) / "pulled", card)
        with progress(f"sampling {model}, tiles", n * n_tiles(window, lattice)) as advance:
            bands = (
                band
                for i in range(n)
                for band in sampler.window(seed, window, i, truncation, on_tile=lambda: advance())
            )
            write_images(path, bands, n=n, height=window.height, width=window.width, voxel_size=card.voxel_size)
    return f"wrote {path}: {_about(window, n)} of {entry.name}/{entry.version} ({card.generator}), seed {seed}"


def _about(window: Window, n: int) -> str:
    place = f" at ({window.x}, {window.y})" if window.x or window.y else ""
    return f"{n} x {window.width} x {window.height} pixels{place}"


def sample_there(
    url: str,
    model: str,
    path: Path,
    n: int,
    seed: int,
    truncation: float | None,
    condition: Condition | None = None,
    key: str | None = None,
) -> str:
    """Have the server at `url` sample `model`; the same files as by `sample_here`, and says what was written.

    Raises:
        InputError: where the server does not serve it, or for another suffix than those of `sample_files`.
        ClientError: what the server says.
    """
    from rockbank.client import Client

    check_suffix(path)
    with Client(url, key=key) as client, _bar(model, n) as advance:
        name, version = _split(model)
        served, about = _find(client.models(), name, version, f"{model}: not served at {client.url}")
        n_channels, height, width = about["image_shape"]
        check_samples(path, n, (n_channels, height, width))
        n_done = 0

        def on_progress(n_come: int) -> None:
            nonlocal n_done
            advance(n_come - n_done)
            n_done = n_come

        wanted: dict[str, Any] = {} if condition is None else {condition.statistic: (condition.low, condition.high)}
        if path.suffix == ".npy":
            # What the server streams is what numpy writes, so memory need not hold it.
            origin = client.save(path, name, n, seed, truncation, served, progress=on_progress, **wanted)
        else:
            samples = client.generate(name, n, seed, truncation, served, progress=on_progress, **wanted)
            write_samples(path, samples.array, about["voxel_size"])
            origin = samples
    met = "" if condition is None else _met(condition, origin.places)
    of = f"{origin.model}/{origin.version} ({about['generator']})"
    return f"wrote {path}: {n}{met} of {of}, seed {origin.seed}, by {url}"


def window_there(
    url: str,
    model: str,
    path: Path,
    window: Window,
    n: int,
    seed: int,
    truncation: float | None,
    key: str | None = None,
) -> str:
    """Have the server at `url` make a window of endless images: the file of `window_here`, as it is streamed.

    Raises:
        InputError: where the server does not serve the model, or for a file that cannot hold it.
        ClientError: what the server says.
    """
    from rockbank.client import Client

    check_image(path, n, window.height, window.width)
    n_rows = n * window.height
    with Client(url, key=key) as client, progress(f"sampling {model}, rows", n_rows) as advance:
        name, version = _split(model)
        served, about = _find(client.models(), name, version, f"{model}: not served at {client.url}")
        n_done = 0

        def on_progress(n_come: int) -> None:
            nonlocal n_done
            advance(min(n_come, n_rows) - n_done)
            n_done = min(n_come, n_rows)

        part = (window.x, window.y, window.width, window.height)
        origin = client.save(path, name, n, seed, truncation, served, window=part, progress=on_progress)
    of = f"{origin.model}/{origin.version} ({about['generator']})"
    return f"wrote {path}: {_about(window, n)} of {of}, seed {origin.seed}, by {url}"


def _split(model: str) -> tuple[str, str | None]:
    """The model's name, and what its version or alias is called, if anything."""
    for mark in "@/":
        if mark in model:
            name, rest = model.split(mark, 1)
            return name, mark + rest
    return model, None


def _find(models: list[dict[str, Any]], name: str, wanted: str | None, refusal: str) -> tuple[str, dict[str, Any]]:
    """The version of a served model that NAME, NAME@ALIAS or NAME/VERSION means, and what the server has of it."""
    model = next((each for each in models if each["name"] == name), None)
    if model is None:
        raise InputError(f"{refusal}; served are {sorted(each['name'] for each in models)}")
    for version in model["versions"]:
        is_meant = version["version"] == model["current"]
        if wanted is not None and wanted != model["reference"].removeprefix(name):
            is_meant = wanted == f"/{version['version']}" or wanted.removeprefix("@") in version["aliases"]
        if is_meant:
            return version["version"], version
    known = [f"{name}/{version['version']}" for version in model["versions"]]
    raise InputError(f"{refusal}; loaded there are {known}, and {model['reference']} is version {model['current']}")
