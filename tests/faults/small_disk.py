"""A disk of one's own that is nearly full: a tmpfs over a folder, in a user namespace, without being root."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.child import run

PAGE = 4096
_NEW_NAMESPACES = 0x10000000 | 0x00020000  # CLONE_NEWUSER | CLONE_NEWNS
_libc = ctypes.CDLL(None, use_errno=True)


def _require(status: int, what: str) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _mount(folder: Path, size: int) -> None:
    """A tmpfs of `size` bytes on `folder`, which this process and its children alone see; it has one thread."""
    user, group = os.getuid(), os.getgid()
    _require(_libc.unshare(_NEW_NAMESPACES), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    options = f"size={size}".encode()
    _require(_libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options), "mount")


def absent(folder: Path) -> str | None:
    """Why there can be none on `folder`; None where there can."""
    status, said, _ = run(lambda: _mount(folder, 2**20))
    return None if status == 0 else f"no tmpfs in a user namespace here: {said.strip().splitlines()[-1]}"


def on_disk_of_its_own(folder: Path, size: int, work: Callable[[], object]) -> tuple[int, str, int]:
    """As `run`, with the folder's files on a tmpfs of `size` bytes; nothing is changed in the folder itself."""

    def inside() -> None:
        aside = folder.with_name(f"{folder.name}-aside")
        shutil.copytree(folder, aside)
        try:
            _mount(folder, size)
            shutil.copytree(aside, folder, dirs_exist_ok=True)
            os.chdir(folder)
            work()
        finally:
            shutil.rmtree(aside)

    return run(inside)


@contextmanager
def full_but_for(folder: Path, room: int) -> Iterator[None]:
    """Of the disk that `folder` is on all is taken but for `room` bytes, a multiple of PAGE, until the block ends."""
    filler = folder / ".filler"
    disk = os.statvfs(folder)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - room)
    try:
        yield
    finally:
        filler.unlink()
