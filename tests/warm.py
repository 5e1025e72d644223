"""Processes that have the libraries already: their imports take longer than most of what is tested in a process.

A server imports libraries alone, once for a session. For each command it forks a process, which gets a folder, an
environment, arguments and standard streams, finds `rockbank` where a fresh interpreter would, and ends like one.

`commands` has what stands in the place of `python`, `dvc`, `mlflow` and `rockbank` in a shell; `Process` is for what is
sent signals. Where memory is measured, or what is imported, a test starts a fresh interpreter.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import json
import multiprocessing
import multiprocessing.resource_tracker
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

COMMANDS = ("python", "dvc", "mlflow", "rockbank")
LIBRARIES = (
    "PIL.Image",
    "dvc.cli.parser",
    "dvc.commands.repro",
    "dvc.repo",
    "fastapi",
    "great_expectations",
    "h5netcdf",
    "httptools",
    "matplotlib.backends.backend_agg",
    "mlflow",
    "mlflow.models.evaluation.validation",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "numba",
    "onnxscript.function_libs.torch_lib.ops",
    "orjson",
    "prometheus_client",
    "pyamg",
    "pydantic_settings",
    "rich.progress",
    "scipy.io",
    "scipy.optimize",
    "scipy.stats",
    "tifffile",
    "torch.export._trace",
    "torch.onnx",
    "torch_fidelity",
    "typer",
    "uvicorn",
    "xarray",
)
_STREAMS = b"streams"
_SERVER = "server"
_CLIENT = """#!{python} -SE
import json, os, pathlib, socket, sys

here = pathlib.Path(sys.argv[0])
handed = []
for number in map(int, os.listdir("/proc/self/fd")):
    try:
        os.fstat(number)
    except OSError:
        continue
    handed += [number] if number > 2 else []
with socket.socket(socket.AF_UNIX) as server:
    server.connect(str(here.parent / "{server}"))
    request = {{"command": [here.name, *sys.argv[1:]], "folder": os.getcwd(), "environment": dict(os.environ)}}
    request["handed"] = handed
    socket.send_fds(server, [{streams}], [0, 1, 2, *handed])
    server.sendall(json.dumps(request).encode())
    server.shutdown(socket.SHUT_WR)
    with server.makefile() as says:
        _, status = (int(line) for line in says)
sys.exit(status if status >= 0 else 128 - status)
"""


@cache
def commands() -> Path:
    """The folder of the commands, which is to come first in PATH; their server ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="commands-"))
    client = folder / COMMANDS[0]
    client.write_text(_CLIENT.format(python=sys.executable, server=_SERVER, streams=_STREAMS))
    client.chmod(0o755)
    for name in COMMANDS[1:]:
        (folder / name).symlink_to(client)
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, __file__, folder / _SERVER]
    server = subprocess.Popen(command, env=bare, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end() -> None:
        server.communicate()
        shutil.rmtree(folder)

    atexit.register(end)
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    return folder


def environment() -> dict[str, str]:
    """That of this process, in which modules are found as they are here."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class Process:
    """A process as `subprocess.Popen` has it, of `python` with these arguments; its output is text in pipes."""

    def __init__(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.returncode: int | None = None
        self._says = b""
        out, err = os.pipe(), os.pipe()
        request = {"command": ["python", *arguments], "folder": str(folder), "environment": dict(environment)}
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(str(commands() / _SERVER))
        with open(os.devnull) as nothing:
            socket.send_fds(self._server, [_STREAMS], [nothing.fileno(), out[1], err[1]])
        os.close(out[1])
        os.close(err[1])
        self._server.sendall(json.dumps(request).encode())
        self._server.shutdown(socket.SHUT_WR)
        self.stdout, self.stderr = os.fdopen(out[0]), os.fdopen(err[0])
        self.pid = int(self._line())

    def poll(self) -> int | None:
        """How it ended; None while it runs."""
        try:
            return self.wait(0.001)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """How it ended, once it has."""
        if self.returncode is None:
            self._server.settimeout(timeout)
            try:
                self.returncode = int(self._line())
            except TimeoutError:
                raise subprocess.TimeoutExpired("python", timeout or 0.0) from None
            self._server.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it wrote to either stream, once it has ended."""
        streams, said = (self.stdout, self.stderr), ["", ""]

        def read(i: int) -> None:
            said[i] = streams[i].read()

        readers = [threading.Thread(target=read, args=(i,), daemon=True) for i in range(2)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(timeout)
            # A process that it left behind may hold the stream.
            if reader.is_alive():
                raise subprocess.TimeoutExpired("python", timeout or 0.0, said[0], said[1])
        self.wait(timeout)
        for stream in streams:
            stream.close()
        return said[0], said[1]

    def send_signal(self, number: int) -> None:
        """To it, where it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """As `send_signal`."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """As `send_signal`."""
        self.send_signal(signal.SIGKILL)

    def _line(self) -> bytes:
        while b"\n" not in self._says:
            self._says += self._server.recv(64) or b"1\n"
        line, _, self._says = self._says.partition(b"\n")
        return line


def serve(path: str) -> list[str]:
    """Fork a process for each command; returns in these alone, with the command's words."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()
    # A process with threads cannot be forked safely, but for that of pyarrow's allocator, which expects it.
    assert threading.active_count() == 1
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            ready, *_ = select.select([listening, sys.stdin], [], [])
            if sys.stdin in ready:
                # Whoever started it has ended.
                os._exit(0)
            caller, _ = listening.accept()
            if os.fork() == 0:
                break
            caller.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, *_ = socket.recv_fds(caller, len(_STREAMS), 64)
    request = json.loads(b"".join(iter(lambda: caller.recv(65536), b"")))
    if process := os.fork():
        for stream in streams:
            os.close(stream)
        caller.sendall(f"{process}\n".encode())
        caller.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])}\n".encode())
        os._exit(0)
    caller.close()
    # A group of its own, which a signal of a terminal would go to.
    os.setsid()
    # Out of the way of the numbers that they are to have.
    aside = [fcntl.fcntl(stream, fcntl.F_DUPFD, 512) for stream in streams]
    for stream in streams:
        os.close(stream)
    for number, stream in zip([0, 1, 2, *request.get("handed", [])], aside, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    return list(request["command"])


def run(command: Sequence[str]) -> Any:
    """What the interpreter, or an installed command, does with these words."""
    name, *arguments = command
    given = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.path[:] = [*given, *sys.path]
    if spawned := os.environ.get("WARM_SPAWN"):
        multiprocessing.resource_tracker.ensure_running()
        multiprocessing.set_executable(spawned)
    if name != "python":
        sys.argv = list(command)
        # Two distributions may bring the same one.
        return next(iter(entry_points(group="console_scripts", name=name))).load()()
    while (flag := arguments[0]).startswith("-") and flag not in ("-m", "-c"):
        del arguments[: 1 + (flag == "-X")]
    kind, *rest = arguments
    if kind in ("-m", "-c"):
        sys.path.insert(0, "")
    if kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        runpy.run_path(kind, run_name="__main__")
    return None


def end(command: Sequence[str]) -> None:
    """Run it, and end as an interpreter does, but for taking all the modules apart, which takes seconds."""
    status: Any = 1
    try:
        status = run(command)
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    if isinstance(status, str):
        print(status, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    # The folder of this file is not for a command to find.
    del sys.path[0]
    end(serve(sys.argv[1]))
