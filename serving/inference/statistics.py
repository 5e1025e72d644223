"""What a queue has computed so far, counted as Triton's statistics extension has it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Duration:
    """How often, and for how long together; nanoseconds."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.count += 1
        self.ns += round(1e9 * seconds)


@dataclass
class InferenceStatistics:
    """Of one version, since it was loaded.

    Attributes:
        success: requests answered, from their arrival in the queue on.
        fail: requests that were not, for whatever reason.
        queue: waits for the first computation.
        infer: computations.
        output: what was done to their images afterwards, in the same thread.
        n_samples: computed.
        last: end of the last computation, milliseconds since 1970; 0 before.
        batches: computations by their samples.
    """

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)
    n_samples: int = 0
    last: int = 0
    batches: dict[int, tuple[Duration, Duration]] = field(default_factory=dict)

    def computed(self, n: int, infer_seconds: float, output_seconds: float) -> None:
        """Count a batch of `n` samples."""
        self.n_samples += n
        self.last = time.time_ns() // 1_000_000
        of_size = self.batches.setdefault(n, (Duration(), Duration()))
        for duration, seconds in (
            (self.infer, infer_seconds), (self.output, output_seconds),
            (of_size[0], infer_seconds), (of_size[1], output_seconds),
        ):  # fmt: skip
            duration.add(seconds)
