"""Logs as JSON lines, each with the id of the request that it belongs to."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextvars import ContextVar
from pathlib import Path
from typing import Any

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
log = logging.getLogger("rockbank.serving")
# What admins ask for, allowed or not.
audit = logging.getLogger("rockbank.serving.audit")
# What logging itself puts into a record; the rest came by `extra` and goes into the line.
_USUAL = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonFormatter(logging.Formatter):
    """One record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, message, request id, what was given by `extra`, and the traceback if any."""
        milliseconds = int(record.msecs)
        line: dict[str, Any] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{milliseconds:03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (request_id := REQUEST_ID.get()) is not None:
            line["request_id"] = request_id
        line |= {key: value for key, value in vars(record).items() if key not in _USUAL}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def stop_audit() -> None:
    """Close the file of admins' calls, if there is one."""
    for handler in audit.handlers:
        handler.close()
    audit.handlers = []


def start_logs(level: str, audit_file: Path | None = None) -> None:
    """Send the logs of the service and of uvicorn to standard error as JSON, and admins' calls to `audit_file` too.

    Raises:
        OSError: where that cannot be written.
    """
    stop_audit()
    # Whatever else is logged.
    audit.setLevel(logging.INFO)
    if audit_file is not None:
        appending = logging.FileHandler(audit_file, encoding="utf-8")
        appending.setFormatter(JsonFormatter())
        audit.handlers = [appending]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("rockbank.serving", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [] if name == "uvicorn.error" else [handler]
        logger.propagate = name == "uvicorn.error"
        logger.setLevel(level)
