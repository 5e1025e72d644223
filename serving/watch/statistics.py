"""Statistics of served samples, window after window, against reference.json of their version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32

from rockbank.drift.distances import (
    Distances,
    as_described,
    calibrate,
    described_values,
    distances,
    least_mean,
    phase_statistics,
)
from rockbank.generator.card import REFERENCE, ModelCard
from rockbank.rock.descriptors import difference
from rockbank.rock.segmentation import segment

# Its place among the statistics that are counted when they are over: here, when it is under its least.
DIVERSITY = "diversity"


@dataclass(frozen=True, kw_only=True)
class StatisticReport:
    """One statistic over a window.

    Attributes:
        mean: over the window's samples.
        std: between them.
        reference_mean: of held-out rock.
        distances: between the two distributions.
        limits: what windows of the version's own distribution keep below; see `rockbank.drift.distances.calibrate`.
        windows_over: consecutive windows, up to this one, in which a distance was over its limit.
    """

    mean: float
    std: float
    reference_mean: float
    distances: Distances
    limits: Distances
    windows_over: int


@dataclass(frozen=True, kw_only=True)
class WindowReport:
    """What a full window says.

    Attributes:
        n: samples in it.
        n_nan: samples with a value that is not finite, since the report before; they enter no statistic.
        saturated_fraction: of the pixels, those at the ends of the scale.
        statistics: porosity, specific_surface, s2_LAG and difference; empty where there is nothing to compare.
        diversity_ratio: mean difference of a sample from the next over that of held-out rock, 0 where all samples
            are one; None where the reference does not have it.
        diversity_least: what windows of the version's own distribution keep above.
        diversity_windows_under: consecutive windows, up to this one, below that.
    """

    n: int
    n_nan: int
    saturated_fraction: float
    statistics: Mapping[str, StatisticReport]
    diversity_ratio: float | None
    diversity_least: float | None
    diversity_windows_under: int

    def windows_over(self) -> dict[str, int]:
        """Consecutive windows beyond its limit, of each statistic and of the diversity."""
        counted = {name: each.windows_over for name, each in self.statistics.items()}
        return counted if self.diversity_ratio is None else {**counted, DIVERSITY: self.diversity_windows_under}


class SampleStatistics:
    """The window that fills, and how often in a row each statistic was over its limit.

    Only samples of the version's own distribution belong here: with latents drawn by the service and no truncation. A
    seed that is sent again and again is one sample many times, which would read as a collapse.

    Attributes:
        problem: why nothing is compared, and the remedy; None where all is well.
    """

    def __init__(
        self,
        reference: Mapping[str, Any],
        card: ModelCard,
        *,
        window: int,
        accepted: Float32[np.ndarray, "n c h w"] | None = None,
        seed: int = 0,
    ) -> None:
        """Calibrate the limits; a tenth of a second for each statistic.

        Args:
            reference: reference.json of the version, as `morphology.describe` made it.
            card: of the version.
            window: samples.
            accepted: samples of the version, drawn when it was loaded, in [0, 1]. What a generator that passed the
                gate is away from held-out rock is then allowed for, and a limit shows a change. Without them the
                limits are those of rock itself, which a generator with visible faults is over from the first window.
            seed: of the resampling.
        """
        self._card = card
        self._window = window
        self._reference = described_values(reference)
        self.problem = None if self._reference else _NO_VALUES
        source = self._reference if accepted is None else self._statistics(self._segmented(accepted))
        # Those that both have: another release may describe other lags.
        self._names = [name for name in self._reference if name in source]
        rng = np.random.default_rng(seed)
        self._limits = {name: calibrate(source[name], self._reference[name], window, rng) for name in self._names}
        self._least: float | None = None
        if "difference" in self._names:
            self._least = least_mean(source["difference"], window, rng)
        self._over = dict.fromkeys([*self._names, DIVERSITY], 0)
        self._begin()

    def add(self, intensity: Float32[np.ndarray, "n c h w"]) -> WindowReport | None:
        """Take samples into the window.

        Args:
            intensity: in [0, 1].

        Returns:
            The report of the window that they fill, of the last one where they fill several; None where it is not full.
        """
        reports = []
        while len(intensity):
            room = self._window - self._n
            self._take(intensity[:room])
            intensity = intensity[room:]
            if self._n == self._window:
                reports.append(self._close())
        if not reports:
            return None
        return replace(reports[-1], n_nan=sum(report.n_nan for report in reports))

    def _begin(self) -> None:
        self._n = self._n_nan = self._n_saturated = self._n_pixels = 0
        self._pores: list[Bool[np.ndarray, "n h w"]] = []
        self._values: list[dict[str, Float[np.ndarray, " n"]]] = []

    def _take(self, intensity: Float32[np.ndarray, "n c h w"]) -> None:
        is_finite = np.isfinite(intensity).all(axis=(1, 2, 3))
        finite = intensity[is_finite]
        self._n += len(intensity)
        self._n_nan += int((~is_finite).sum())
        self._n_saturated += int(((finite <= 0) | (finite >= 1)).sum())
        self._n_pixels += finite.size
        if len(finite) and self._names:
            pores = self._segmented(finite)
            self._pores.append(pores)
            # As they come, so that a full window has no burst of work.
            self._values.append(phase_statistics(pores))

    def _close(self) -> WindowReport:
        statistics: dict[str, StatisticReport] = {}
        ratio = least = None
        if self._values:
            values = {name: np.concatenate([each[name] for each in self._values]) for name in self._values[0]}
            values["difference"] = difference(np.concatenate(self._pores))
            statistics = {name: self._compare(name, values[name]) for name in self._names}
            rock = statistics["difference"].reference_mean if self._least is not None else 0.0
            if self._least is not None and rock > 0:
                ratio, least = statistics["difference"].mean / rock, self._least / rock
                self._count(DIVERSITY, ratio < least)
        report = WindowReport(
            n=self._n,
            n_nan=self._n_nan,
            saturated_fraction=self._n_saturated / max(self._n_pixels, 1),
            statistics=statistics,
            diversity_ratio=ratio,
            diversity_least=least,
            diversity_windows_under=self._over[DIVERSITY],
        )
        self._begin()
        return report

    def _compare(self, name: str, values: Float[np.ndarray, " n"]) -> StatisticReport:
        reference, limits = self._reference[name], self._limits[name]
        found = distances(as_described(values), reference)
        self._count(name, found.is_over(limits))
        return StatisticReport(
            mean=float(values.mean()),
            std=float(values.std()),
            reference_mean=float(reference.mean()),
            distances=found,
            limits=limits,
            windows_over=self._over[name],
        )

    def _count(self, name: str, is_over: bool) -> None:
        self._over[name] = self._over[name] + 1 if is_over else 0

    def _segmented(self, intensity: Float32[np.ndarray, "n c h w"]) -> Bool[np.ndarray, "n h w"]:
        return segment(intensity, self._card.segmentation)

    def _statistics(self, pores: Bool[np.ndarray, "n h w"]) -> dict[str, Float[np.ndarray, " n"]]:
        values = {**phase_statistics(pores), "difference": difference(pores)}
        return {name: as_described(each) for name, each in values.items()}


_NO_VALUES = (
    f"{REFERENCE} has means but no values, so no distances can be measured; NaN and saturation are: "
    "register the generator again ('dvc repro') to have them"
)
