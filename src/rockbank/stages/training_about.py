"""training.json: the record of a training beside its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from rockbank.core.files import read_json, write_json

ABOUT = "training.json"


@dataclass(frozen=True, kw_only=True)
class TrainingAbout:
    """What an MLflow run and a card say of a training beside its metrics; training.json beside the weights.

    Attributes:
        params: its settings.
        git_commit: of the code.
        data_md5: DVC's, of the raw data or the crops.
        best_step: whose weights were kept.
        description: markdown for the head of the run.
    """

    params: dict[str, Any]
    git_commit: str | None
    data_md5: str | None
    best_step: int
    description: str

    def save(self, folder: Path) -> None:
        """Write training.json into `folder`."""
        write_json(folder / ABOUT, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The training of `folder`."""
        return cls(**read_json(folder / ABOUT))

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """The same; None where the weights in `folder` were not trained here, but imported."""
        return cls.load(folder) if (folder / ABOUT).is_file() else None
