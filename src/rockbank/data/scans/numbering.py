"""The order of slices by the numbers in their files' names, and what is missing from it or there twice."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from rockbank.data.manifest import VolumeError

NUMBER = re.compile(r"([-+]?)([0-9]+)")
ELSEWHERE = "move what is no slice of this volume elsewhere"


def in_order(folder: Path, files: Sequence[Path], *, allow_gaps: bool) -> list[Path]:
    """The slices in the order of the number that tells them apart, or of their names where these have none.

    Letters are read without regard to case. A minus is a sign behind a blank, '_', '=' or the like, and where only
    some of the names have it: elsewhere it is a hyphen.

    Raises:
        VolumeError: where names are not numbered alike, where two slices have one number, and, unless `allow_gaps`,
            where numbers are missing; it names them.
    """
    numbers = _numbers(files)
    counts = Counter(len(each) for each in numbers.values())
    if len(counts) > 1:
        others = [file.name for file, each in numbers.items() if len(each) != counts.most_common(1)[0][0]]
        raise VolumeError(f"{folder}: names are not numbered alike: {_some(others)}; {ELSEWHERE}")
    columns = list(zip(*numbers.values(), strict=True))
    varying = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    if not varying:
        _refuse_twins(folder, {file: file.stem.lower() for file in files})
        return sorted(files, key=lambda file: file.stem.lower())
    number = {file: each[varying[-1]] for file, each in numbers.items()}
    _refuse_twins(folder, number)
    ordered = sorted(files, key=lambda file: number[file])
    if any(numbers[a] > numbers[b] for a, b in pairwise(ordered)):
        raise VolumeError(
            f"{folder}: names have several numbers, which give different orders, such as {ordered[0].name} and "
            f"{ordered[-1].name}; rename them by one"
        )
    if not allow_gaps:
        _refuse_gaps(folder, ordered, number)
    return ordered


def _numbers(files: Sequence[Path]) -> dict[Path, list[int]]:
    found = {file: list(NUMBER.finditer(file.stem)) for file in files}
    n_signed: Counter[int] = Counter()
    for matches in found.values():
        n_signed.update(i for i, each in enumerate(matches) if each[1])
    return {
        file: [
            int(each[0]) if n_signed[i] < len(files) or _is_sign(file.stem, each.start()) else int(each[2])
            for i, each in enumerate(matches)
        ]
        for file, matches in found.items()
    }


def _is_sign(stem: str, at: int) -> bool:
    return at == 0 or not stem[at - 1].isalnum()


def _refuse_twins(folder: Path, keys: dict[Path, int] | dict[Path, str]) -> None:
    same = defaultdict(list)
    for file, key in keys.items():
        same[key].append(file.name)
    twins = sorted(" and ".join(sorted(names)) for names in same.values() if len(names) > 1)
    if twins:
        raise VolumeError(f"{folder}: {len(twins)} slices are there twice: {_some(twins)}; {ELSEWHERE}")


def _refuse_gaps(folder: Path, ordered: Sequence[Path], number: dict[Path, int]) -> None:
    """Raise where the step from one number to the next is not everywhere the smallest one."""
    steps = [number[b] - number[a] for a, b in pairwise(ordered)]
    step = min(steps)
    gaps = [
        f"between {a.name} and {b.name}" for (a, b), each in zip(pairwise(ordered), steps, strict=True) if each != step
    ]
    if gaps:
        raise VolumeError(
            f"{folder}: slices are missing {_some(gaps)}; complete them, or say --allow-gaps where the volume has "
            "none between them"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
