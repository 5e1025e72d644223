"""Errors that whoever runs a command can mend; any other is a bug, and keeps its traceback."""

from __future__ import annotations


class UserError(Exception):
    """What the user can mend: its text is one line with what is wrong, the value got, and what to do.

    The base of every error of ours that a command reports without a traceback. A computation that cannot go on, such as
    a diverged training, derives from it and from RuntimeError.
    """


class InputError(UserError, ValueError):
    """An argument, a file or a field that cannot be used."""
