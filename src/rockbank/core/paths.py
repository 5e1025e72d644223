"""Where the stages read and write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rockbank.core.provenance import data_md5

DATA = Path("data")
# The family whose crops are cut from data/; the others are synthetic.
SCANNED = "shale"
CHECKPOINTS = Path(".checkpoints")
HISTORY = "history.csv"
TRAINING_PICTURE = "training.png"


@dataclass(frozen=True)
class ProjectPaths:
    """The folders of one pipeline: the project's own, or those of a test."""

    artifacts: Path = Path("artifacts")
    reports: Path = Path("reports")
    data: Path = Path("artifacts/data")

    def crops(self, family: str) -> Path:
        """The crop set."""
        return self.data / family

    def embedded(self, family: str) -> Path:
        """Features of its crops; they lie beside them, whatever pipeline scores a generator by them."""
        return self.data.parent / "embed" / family

    def check(self, family: str) -> Path:
        """What the expectations said of it."""
        return self.artifacts / "check" / family

    def train(self, generator: str) -> Path:
        """Weights and blueprint, and the record of the training."""
        return self.artifacts / "train" / generator

    def scores(self, generator: str) -> Path:
        """Every score."""
        return self.reports / "scores" / f"{generator}.json"

    def metrics(self, generator: str) -> Path:
        """The scores that the gate weighs, for `dvc metrics`."""
        return self.reports / "metrics" / f"{generator}.json"

    def score(self, generator: str) -> Path:
        """Pictures and curves of the scores."""
        return self.artifacts / "score" / generator

    def export(self, generator: str) -> Path:
        """What will be registered, but for the verdict."""
        return self.artifacts / "export" / generator

    def verdict(self, family: str, generator: str) -> Path:
        """The gate's verdict."""
        return self.artifacts / "gate" / family / f"{generator}.json"

    def registered(self, family: str) -> Path:
        """Which versions the register step made."""
        return self.artifacts / "registered" / f"{family}.json"


# The project's own.
PIPELINE = ProjectPaths()


def origin(family: str, paths: ProjectPaths) -> str | None:
    """DVC's md5 of the raw data of a family, or of its crops where they are synthetic."""
    return data_md5(str(DATA if family == SCANNED else paths.crops(family)))
