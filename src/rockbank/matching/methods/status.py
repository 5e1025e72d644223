"""How a member stands or ended: the words that checkpoints and datasets hold, and those that people read."""

from __future__ import annotations

RUNNING = "running"
FAILED = "failed"
CONVERGED = "converged"
# No step lessens the objective.
STUCK = "stuck"
# The last sample of a chain is drawn.
SAMPLED = "sampled"
NOISE_LEVEL_REACHED = "noise_level_reached"
MAX_ITERATIONS_REACHED = "max_iterations_reached"

_IN_WORDS = {NOISE_LEVEL_REACHED: "reached the noise level", MAX_ITERATIONS_REACHED: "reached its iteration limit"}
# What version 0.1.0 saved.
_RENAMED = {"floor": NOISE_LEVEL_REACHED, "spent": MAX_ITERATIONS_REACHED}


def current_status(saved: str) -> str:
    """The status that a checkpoint or a dataset of any version holds, by its name of now."""
    return _RENAMED.get(saved, saved)


def status_in_words(status: str, n_members: int = 1) -> str:
    """What is said of one member, or of several, with that status."""
    words = _IN_WORDS.get(status, status.replace("_", " "))
    return words if n_members == 1 else words.replace(" its ", " their ")
