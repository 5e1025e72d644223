"""Links of HDF5: soft, hard, and to other files of the same folder."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import file_beside

# Of links behind one name; those of detector files are two or three.
HOPS_MAX = 16


def follow(file: h5py.File, name: str, opened: ExitStack) -> Any:
    """The object that `name` leads to, by whatever links; files that it opens are closed with `opened`.

    Raises:
        VolumeError: for a name that is not there, and for a link that leads nowhere, in a circle, or out of the
            file's folder, naming it.
    """
    here, parts, n_hops = file["/"], _split(name), 0
    while parts:
        part = parts.pop(0)
        at = f"{here.file.filename}: '{here.name.rstrip('/')}/{part}'"
        link = here.get(part, getlink=True) if isinstance(here, h5py.Group) else None
        if link is None:
            raise VolumeError(f"{at} is not there, which '{name}' leads to; correct the name or the link")
        if isinstance(link, h5py.HardLink):
            here = here[part]
            continue
        n_hops += 1
        if n_hops > HOPS_MAX:
            raise VolumeError(f"{at} is behind more than {HOPS_MAX} links, perhaps in a circle; correct them")
        if isinstance(link, h5py.ExternalLink):
            target = file_beside(Path(here.file.filename), link.filename)
            here = opened.enter_context(h5py.File(target, "r"))["/"]
        elif link.path.startswith("/"):
            here = here.file["/"]
        parts = [*_split(link.path), *parts]
    return here


def data_sets(file: h5py.File, opened: ExitStack) -> dict[str, h5py.Dataset]:
    """Every data set by each of its names, but for those of links that lead nowhere."""
    found: dict[str, h5py.Dataset] = {}
    seen: set[Any] = set()

    def visit(group: h5py.Group, prefix: str) -> None:
        if group.id.__hash__() in seen:
            return
        seen.add(group.id.__hash__())
        for key in group:
            name = f"{prefix}{key}"
            try:
                item = follow(file, name, opened)
            except VolumeError:
                continue
            if isinstance(item, h5py.Dataset):
                found[name] = item
            elif isinstance(item, h5py.Group):
                visit(item, f"{name}/")

    visit(file["/"], "")
    return found


def _split(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]
