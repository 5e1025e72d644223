"""What it takes to rebuild a generator from its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from rockbank.core.files import read_json, write_json

GENERATOR = "generator.json"


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """A generator's name, kind and shapes; generator.json beside its weights."""

    generator: str
    family: str
    network: str
    loss: str
    latent: tuple[int, ...]
    image: tuple[int, int, int]

    def save(self, folder: Path) -> None:
        """Write generator.json into `folder`."""
        write_json(folder / GENERATOR, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The blueprint in `folder`."""
        raw = read_json(folder / GENERATOR)
        return cls(**{**raw, "latent": tuple(raw["latent"]), "image": tuple(raw["image"])})
