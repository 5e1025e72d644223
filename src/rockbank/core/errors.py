"""Errors that whoever runs a command can mend; any other is a bug, and keeps its traceback."""

from __future__ import annotations

import errno
import re


class UserError(Exception):
    """What the user can mend: its text is one line with what is wrong, the value got, and what to do.

    The base of every error of ours that a command reports without a traceback. A computation that cannot go on, such as
    a diverged training, derives from it and from RuntimeError.
    """


class InputError(UserError, ValueError):
    """An argument, a file or a field that cannot be used."""


class DiskFull(UserError, OSError):
    """A file has no room on its disk."""


def is_of_a_full_disk(error: OSError) -> bool:
    """Whether there is no room for what was to be written; numpy says so without the system's number."""
    is_numpys = re.fullmatch(r"\d+ requested and \d+ written", str(error)) is not None
    return is_numpys or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
