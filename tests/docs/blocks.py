"""The code of the pages: blocks, command lines and paths."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
_RUN = re.compile(r"<!-- run: (\w+) -->")
_FENCE = re.compile(r"```(\w*)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of code.

    Attributes:
        page: relative to the root.
        line: where its code begins, counted from 1.
        language: of a fenced block; "" where none is named, or where the block is indented.
        world: that it is run in; None where it is not run.
        text: the code.
    """

    page: str
    line: int
    language: str
    world: str | None
    text: str

    @property
    def is_shell(self) -> bool:
        """Whether its lines may be commands."""
        return self.language in ("", "bash")

    def __str__(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, fenced and indented."""
    found: list[Block] = []
    name = str(page.relative_to(ROOT))
    # The language of the fence that is open, and the world that was named before it.
    fence: str | None = None
    world: str | None = None
    lines: list[str] = []

    def end(at: int) -> None:
        nonlocal lines
        if lines:
            text = "\n".join(lines)
            found.append(Block(page=name, line=at - len(lines), language=fence or "", world=world, text=text))
        lines = []

    for i, line in enumerate([*page.read_text(encoding="utf-8").splitlines(), ""], start=1):
        if fence is not None and not line.startswith("```"):
            lines.append(line)
        elif fence is not None:
            end(i)
            fence = world = None
        elif line.startswith("    "):
            lines.append(line[4:])
        else:
            end(i)
            opened, run = _FENCE.match(line), _RUN.match(line)
            fence = opened[1] if opened else None
            world = run[1] if run else world
    return found


def code_spans(page: Path) -> Iterator[tuple[str, str]]:
    """The code within the lines of a page, each with where it stands."""
    is_open = False
    for i, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```"):
            is_open = not is_open
        if not is_open and not line.startswith("    "):
            yield from ((f"{page.relative_to(ROOT)}:{i}", span) for span in _CODE.findall(line))


def command_lines(text: str) -> list[list[str]]:
    """The words of each command in a shell's text, without comments and variables set before it."""
    commands = []
    for line in text.replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        while words:
            end = next((i for i, word in enumerate(words) if word in ("&&", "|", ";")), len(words))
            command, words = words[:end], words[end + 1 :]
            while command and re.fullmatch(r"[A-Z_]+=\S*", command[0]):
                command = command[1:]
            commands += [command] if command else []
    return commands


def runs() -> list[tuple[str, str]]:
    """Each page and each world that blocks of it are run in."""
    return [
        (str(page.relative_to(ROOT)), world)
        for page in PAGES
        for world in sorted({block.world for block in blocks(page) if block.world is not None})
    ]
