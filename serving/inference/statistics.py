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

    Each answered request counts once in `success`, `queue`, `infer` and `output`, with the whole time of the
    computations that it was in, as Triton's clients expect: they refuse counts that differ.

    Attributes:
        success: requests answered, from their arrival in the queue on.
        fail: requests that were not, for whatever reason.
        queue: waits for the first computation.
        infer: computations.
        output: what was done to their images afterwards, in the same thread.
        n_samples: computed.
        n_batches: computations.
        last: end of the last computation, milliseconds since 1970; 0 before.
        batches: computations by their samples, and what was done to their images.
    """

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)
    n_samples: int = 0
    n_batches: int = 0
    last: int = 0
    batches: dict[int, tuple[Duration, Duration]] = field(default_factory=dict)

    def computed(self, n: int, infer_seconds: float, output_seconds: float) -> None:
        """Count a batch of `n` samples."""
        self.n_samples += n
        self.n_batches += 1
        self.last = time.time_ns() // 1_000_000
        infer, output = self.batches.setdefault(n, (Duration(), Duration()))
        infer.add(infer_seconds)
        output.add(output_seconds)

    def answered(self, seconds: float, *, queue: float, infer: float, output: float) -> None:
        """Count a request; `seconds` since its arrival, and those of its parts."""
        self.success.add(seconds)
        self.queue.add(queue)
        self.infer.add(infer)
        self.output.add(output)
