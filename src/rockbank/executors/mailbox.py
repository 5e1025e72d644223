"""Messages and results by way of a folder that all machines share; whatever dies, nothing in it is half written."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rockbank.executors.values import read_value, write_value


class Mailbox:
    """A folder that tasks write to and one process reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "messages").mkdir(parents=True, exist_ok=True)
        (folder / "results").mkdir(exist_ok=True)

    def put(self, message: Any) -> None:
        """Sends a message."""
        self._write(self.folder / "messages" / f"{time.time_ns():020d}-{uuid.uuid4().hex}", message)

    def take(self) -> Iterator[Any]:
        """The messages that have come, the oldest first; each once."""
        for path in sorted((self.folder / "messages").glob("[0-9]*")):
            yield read_value(path)
            path.unlink()

    def put_result(self, key: str, value: Any) -> None:
        """Keeps the result of a task; that of a second call, which is the same, takes its place."""
        self._write(self.folder / "results" / key, value)

    def has_result(self, key: str) -> bool:
        """Whether it has come."""
        return (self.folder / "results" / key).is_file()

    def result(self, key: str) -> Any:
        """That of a task that has one."""
        return read_value(self.folder / "results" / key)

    def stop(self) -> None:
        """Tells all tasks to stop."""
        (self.folder / "stop").touch()

    def is_stopped(self) -> bool:
        """Whether they are to stop."""
        return (self.folder / "stop").exists()

    @staticmethod
    def _write(path: Path, value: Any) -> None:
        beside = path.with_name(f".part-{uuid.uuid4().hex}")
        write_value(beside, value)
        os.replace(beside, path)


class MailboxWorker:
    """A Worker that reports by way of a mailbox."""

    def __init__(self, context: Any, mailbox: Mailbox) -> None:
        self.context, self._mailbox = context, mailbox

    def report(self, message: Any) -> None:
        """As Worker.report."""
        self._mailbox.put(message)

    def is_stopped(self) -> bool:
        """As Worker.is_stopped."""
        return self._mailbox.is_stopped()
