"""Draws the packages of the code by who imports whom: `python -m tools.house` writes docs/pictures/house.png."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from textwrap import fill

import grimp
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "pictures" / "house.png"
PACKAGES = ("rockbank", "serving", "pipelines")
# Inches; a floor has the height of a room and the gap above it.
WIDTH, ROOM, GAP, ROOF, DPI = 11.0, 1.02, 0.34, 0.75, 160
# Characters of a line in a room of the whole width.
CHARACTERS = 165
WALL, PAPER, INK, FAINT = "#4d6b66", "#eef4f2", "#1d2b29", "#6f8a85"


@dataclass(frozen=True, kw_only=True)
class Room:
    """A package or a module that stands for itself.

    Attributes:
        name: by which it is imported.
        about: the first line of its docstring.
        inside: names of the packages and modules in it.
    """

    name: str
    about: str
    inside: tuple[str, ...]

    @property
    def title(self) -> str:
        """Its name within the project."""
        return self.name.removeprefix("rockbank.")


def main() -> None:
    """Draw the picture."""
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    draw(floors(imports())).savefig(PICTURE, dpi=DPI, metadata={"Software": None})
    print(f"wrote {PICTURE.relative_to(ROOT)}")


def imports() -> dict[str, set[str]]:
    """The rooms, each with those that it imports."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    rooms = sorted(graph.find_children("rockbank")) + [name for name in PACKAGES if name != "rockbank"]
    below: dict[str, set[str]] = {room: set() for room in rooms}
    for room in rooms:
        for module in (room, *graph.find_descendants(room)):
            found = (_room_of(each, rooms) for each in graph.find_modules_directly_imported_by(module))
            below[room] |= {each for each in found if each is not None and each != room}
    return below


def floors(below: Mapping[str, set[str]]) -> list[list[str]]:
    """The rooms from the ground up: each stands one floor above the highest room that it imports.

    Raises:
        ValueError: where rooms import each other.
    """
    levels: dict[str, int] = {}
    while len(levels) < len(below):
        ready = [room for room, needed in below.items() if room not in levels and needed <= set(levels)]
        if not ready:
            raise ValueError(f"these rooms import each other: {sorted(set(below) - set(levels))}; break the circle")
        levels |= {room: 1 + max((levels[each] for each in below[room]), default=-1) for room in ready}
    return [sorted(room for room, level in levels.items() if level == i) for i in range(1 + max(levels.values()))]


def draw(rows: Sequence[Sequence[str]]) -> Figure:
    """The house, its ground floor at the bottom."""
    height = len(rows) * (ROOM + GAP) + ROOF + GAP
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, height))
    axes.axis("off")
    top = GAP + len(rows) * (ROOM + GAP) - GAP / 2
    axes.add_patch(Polygon([(0.1, top), (WIDTH / 2, top + ROOF), (WIDTH - 0.1, top)], facecolor=WALL, edgecolor="none"))
    axes.text(WIDTH / 2, top + 0.3 * ROOF, "imports go down only", color="white", ha="center", va="center", fontsize=13)
    for i, row in enumerate(rows):
        width = (WIDTH - GAP) / len(row)
        for k, name in enumerate(row):
            _draw_room(axes, room(name), (GAP / 2 + k * width, GAP + i * (ROOM + GAP)), width)
    return figure


def room(name: str) -> Room:
    """What is said of a room."""
    module = import_module(name)
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    inside = {each.stem for folder in folders for each in folder.iterdir() if each.suffix == ".py" or _is_package(each)}
    about = (module.__doc__ or "").partition("\n")[0]
    return Room(name=name, about=about, inside=tuple(sorted(each for each in inside if not each.startswith("__"))))


def _draw_room(axes: Axes, of: Room, at: tuple[float, float], width: float) -> None:
    (x, y), n = at, int(CHARACTERS * width / WIDTH)
    axes.add_patch(
        FancyBboxPatch((x + 0.08, y), width - 0.16, ROOM, boxstyle="round,pad=0,rounding_size=0.06", facecolor=PAPER,
                       edgecolor=WALL, linewidth=1.2)
    )  # fmt: skip
    middle = x + width / 2
    axes.text(middle, y + ROOM - 0.1, of.title, color=INK, ha="center", va="top", fontsize=12, weight="bold")
    about = fill(of.about.partition(":")[0].rstrip("."), n, max_lines=3, placeholder=" …")
    axes.text(middle, y + ROOM - 0.34, about, color=INK, ha="center", va="top", fontsize=7.5, linespacing=1.15)
    inside = fill("  ".join(of.inside), n, max_lines=2, placeholder=" …")
    axes.text(middle, y + 0.08, inside, color=FAINT, ha="center", va="bottom", fontsize=7, linespacing=1.15)


def _room_of(module: str, rooms: Sequence[str]) -> str | None:
    return next((each for each in rooms if module == each or module.startswith(f"{each}.")), None)


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


if __name__ == "__main__":
    main()
