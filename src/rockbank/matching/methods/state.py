"""How far one member has come, and its checkpoint."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from rockbank.core.errors import InputError
from rockbank.core.files import replacing
from rockbank.matching.methods.status import RUNNING, current_status
from rockbank.matching.problem.cost import Cost
from rockbank.matching.problem.point import Parts, Point, Vector

# A reason of a member's end.
NOTHING_OBSERVED = "nothing was observed: a draw of the prior"


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One iterate.

    Attributes:
        z: the latent.
        parts: the objective's parts there.
        cost: of all runs until then.
    """

    z: Vector
    parts: Parts
    cost: Cost


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """A member between two iterations; what follows depends on it alone, so that a killed run goes on the same.

    Attributes:
        records: the start and every iterate since.
        memory: what else the method goes on from, such as moments or damping, as the checkpoint holds it.
        point: the last iterate's, so that it need not be evaluated again; not in the checkpoint.
        status: one of methods.status, or a method's own word for how it ended.
        reason: why, in words.
    """

    records: tuple[Record, ...]
    memory: Mapping[str, np.ndarray] = field(default_factory=dict)
    point: Point | None = None
    status: str = RUNNING
    reason: str = ""

    @property
    def last(self) -> Record:
        """Where it is."""
        return self.records[-1]

    def then(self, record: Record, point: Point | None, memory: Mapping[str, np.ndarray]) -> State:
        """One iterate on."""
        return replace(self, records=(*self.records, record), point=point, memory=memory)

    def ended(self, status: str, reason: str) -> State:
        """At its end."""
        return replace(self, point=None, status=status, reason=reason)

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        arrays = {
            "z": np.array([record.z for record in self.records]),
            "parts": np.array([astuple(record.parts) for record in self.records]),
            "cost": np.array([astuple(record.cost) for record in self.records]),
            "about": np.array(json.dumps({"status": self.status, "reason": self.reason})),
            **{f"memory_{name}": value for name, value in self.memory.items()},
        }
        with replacing(path) as beside, beside.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The checkpoint in `path`.

        Raises:
            InputError: naming the file that is none.
        """
        try:
            # Numpy does not close a file of its own opening that turns out to be none of its own.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in arrays.files}
            about = json.loads(str(found["about"]))
            about["status"] = current_status(about["status"])
            records = tuple(
                Record(
                    z=z,
                    parts=Parts(**_named(Parts, parts.tolist())),
                    cost=Cost(**_named(Cost, cost.tolist())),
                )
                for z, parts, cost in zip(found["z"], found["parts"], found["cost"], strict=True)
            )
        except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path}: no checkpoint of a member: {error}; delete it, and the member starts anew"
            ) from error
        prefix = "memory_"
        memory = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
        return cls(records=records, memory=memory, **about)


def _named(kind: type[Parts | Cost], values: Sequence[float]) -> dict[str, Any]:
    # Counts that an older checkpoint has not are 0; Parts knows no such defaults.
    return dict(zip((each.name for each in fields(kind)), values, strict=False))
