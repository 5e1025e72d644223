"""How much of the quadratic model's most a step asks for: less until one is good, more after it was."""

from __future__ import annotations

from dataclasses import dataclass

from rockbank.matching.methods.gauss_newton.damped_step import GOOD_GAIN, Descent, Trial


@dataclass(frozen=True, kw_only=True)
class TrustRegion:
    """Its radius is given as the fraction of the model's most reduction, in whose place the damping stands.

    Attributes:
        most: fraction that a trial asks for at most.
        least: for no less, where a Jacobian is fresh.
        coarse: by which a trial asks for less than one that failed.
        fine: than one that was good, in search of the best.
        max_trials: runs after which no shorter step is tried.
        max_failed_trials: of them, as long as none was good, where the Jacobian is mended; a fresh one gets all.
        max_corrections: of second order, of one step at most.
    """

    most: float = 0.95
    least: float = 0.1
    coarse: float = 2.6
    fine: float = 1.6
    max_trials: int = 12
    max_failed_trials: int = 4
    max_corrections: int = 3

    def search(self, descent: Descent, fraction: float, *, is_fresh: bool) -> tuple[Trial | None, int]:
        """The best of a few damped steps, each shorter than the one before, and how many runs they took."""
        best, n_runs = None, 0
        if descent.is_at_optimum:
            return best, n_runs
        max_failed = self.max_trials if is_fresh else self.max_failed_trials
        while n_runs < (max_failed if best is None else self.max_trials):
            trial, n = descent.step(fraction)
            n_runs += n
            if trial is not None and trial.reduction > (0.0 if best is None else best.reduction):
                best = trial
                if best.gain > GOOD_GAIN:
                    break
            elif best is not None:
                break
            fraction /= self.coarse if best is None else self.fine
        return best, n_runs

    def next_fraction(self, trial: Trial) -> float:
        """That the step after a trial asks for."""
        return max(min(2 * trial.fraction, self.most) if trial.gain > GOOD_GAIN else trial.fraction, self.least)
