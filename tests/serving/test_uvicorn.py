"""The server subclasses parts of uvicorn that it does not promise to keep: what it takes of them is there."""

from __future__ import annotations

import ast
import asyncio
import inspect
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest
import uvicorn
from packaging.requirements import Requirement
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from serving.http import connection, server

ROOT = Path(__file__).parents[2]
SERVICE: Any = SimpleNamespace(settings=SimpleNamespace(send_seconds=1.0, max_connections=8), metrics=None)


def own(of: type) -> set[str]:
    """What a class defines itself, but for what only it knows."""
    return {name for name, value in vars(of).items() if isinstance(value, FunctionType) and not name.startswith("_")}


def attributes(source: object, names: Callable[[ast.expr], bool]) -> Iterator[str]:
    """The attributes that source code takes of the values that `names` picks."""
    for node in ast.walk(ast.parse(inspect.getsource(source))):  # type: ignore[arg-type]
        if isinstance(node, ast.Attribute) and names(node.value):
            yield node.attr


def is_self(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id == "self"


def is_cycle(value: ast.expr) -> bool:
    return ast.unparse(value) in ("cycle", "self.cycle")


def test_the_installed_version_lies_in_the_declared_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = (project["dependencies"], *project["optional-dependencies"].values())
    (declared,) = (of for group in groups for each in group if (of := Requirement(each)).name == "uvicorn")
    assert declared.specifier.contains(version("uvicorn"))
    # A bound above, for a later version may rename what is subclassed.
    assert any(each.operator == "<" for each in declared.specifier)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(connection.protocol_of(SERVICE), HttpToolsProtocol), (server.Server, uvicorn.Server)],
    ids=["connection", "server"],
)
def test_every_method_that_is_overridden_is_there(ours: type, theirs: type) -> None:
    assert own(ours)
    assert own(ours) - set(dir(theirs)) == set()


async def test_every_attribute_that_is_taken_is_there() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    config = uvicorn.Config(app, loop="none", interface="asgi3", lifespan="off", log_config=None)
    config.load()
    theirs = HttpToolsProtocol(config=config, server_state=ServerState(), app_state={})
    transport: Any = SimpleNamespace(
        get_extra_info=lambda name, default=None: default, get_write_buffer_size=lambda: 0,
        set_protocol=None, is_closing=lambda: False, pause_reading=None, resume_reading=None,
        write=lambda data: None, close=lambda: None,
    )  # fmt: skip
    theirs.connection_made(transport)
    theirs.data_received(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
    ours = vars(connection.protocol_of(SERVICE))
    taken = set(attributes(connection, is_self)) - set(ours)
    assert {"connections", "cycle", "loop", "transport"} <= taken
    assert {name for name in taken if not hasattr(theirs, name)} == set()
    of_cycle = set(attributes(connection, is_cycle)) | set(attributes(server, is_cycle))
    assert {"keep_alive", "response_started", "chunked_encoding"} <= of_cycle
    assert {name for name in of_cycle if not hasattr(theirs.cycle, name)} == set()
    for task in list(theirs.tasks):
        task.cancel()


def test_every_attribute_of_the_server_is_there() -> None:
    theirs = uvicorn.Server(uvicorn.Config(app=SERVICE))
    ours = {*vars(server.Server), "_service", "_stop_beside"}
    taken = {name for name in attributes(server.Server, is_self) if name not in ours}
    assert {"should_exit", "force_exit", "server_state"} <= taken
    assert {name for name in taken if not hasattr(theirs, name)} == set()
    assert hasattr(theirs.server_state, "connections")
