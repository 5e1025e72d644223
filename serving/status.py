"""What the status page tells: plain values, gathered from the service in serving/page.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rockbank.card import ModelCard


@dataclass(frozen=True, kw_only=True)
class VersionStatus:
    """One loaded version.

    Attributes:
        version: its number in the registry.
        roles: what it does here: current, previous, canary, shadow.
        aliases: that the registry gave it when it was loaded.
        created: in the registry.
        card: of it.
        scores: those of card.HEADLINE.
        provider: what its session runs on.
        n_samples: computed since the start.
        golden: largest difference from its golden sample; None where it has not been run again.
        golden_holds: whether that is within the tolerance.
    """

    version: str
    roles: tuple[str, ...]
    aliases: tuple[str, ...]
    created: datetime
    card: ModelCard
    scores: Mapping[str, float]
    provider: str
    n_samples: int
    golden: float | None
    golden_holds: bool


@dataclass(frozen=True, kw_only=True)
class StatisticStatus:
    """One statistic of the samples served, over the last full window.

    Attributes:
        name: such as porosity, or S2 at a lag.
        served: mean of the window.
        rock: mean of the reference.
        wasserstein: distance between the two, in the statistic's unit, and its limit; None where it has none.
        ks: Kolmogorov-Smirnov distance and its limit, likewise.
        n_over: consecutive windows beyond a limit.
    """

    name: str
    served: float
    rock: float
    wasserstein: tuple[float, float] | None
    ks: tuple[float, float] | None
    n_over: int


@dataclass(frozen=True, kw_only=True)
class CorrelationStatus:
    """S2 of the reference's rock, and of served samples where a window has been full.

    Attributes:
        lags: pixels, of the rock's curve.
        mean: of the rock's samples.
        std: between them.
        served: from a lag in pixels to the served samples' mean and standard deviation.
        voxel_size: metres.
    """

    lags: Sequence[int]
    mean: Sequence[float]
    std: Sequence[float]
    served: Mapping[int, tuple[float, float]]
    voxel_size: float


@dataclass(frozen=True, kw_only=True)
class ModelStatus:
    """One configured model."""

    name: str
    alias: str
    versions: Sequence[VersionStatus]
    correlation: CorrelationStatus | None
    statistics: Sequence[StatisticStatus]
    n_window: int

    @property
    def current(self) -> VersionStatus | None:
        """The version that answers."""
        return next((version for version in self.versions if "current" in version.roles), None)


@dataclass(frozen=True, kw_only=True)
class AlertStatus:
    """Something that an operator should know of now.

    Attributes:
        severity: "critical" or "warning".
        title: what is wrong, in a few words.
        text: the values, and what to do.
    """

    severity: str
    title: str
    text: str


@dataclass(frozen=True, kw_only=True)
class SwapStatus:
    """The version that answers was changed."""

    at: datetime
    model: str
    before: str | None
    after: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A quantity over the last minutes.

    Attributes:
        name: for a reader.
        value: now, over the last minute; None where nothing was measured.
        unit: of it.
        history: oldest first; None where nothing was measured.
    """

    name: str
    value: float | None
    unit: str
    history: Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Status:
    """All of the page."""

    now: datetime
    started: datetime
    is_ready: bool
    wants_key: bool
    max_n: int
    alerts: Sequence[AlertStatus]
    traffic: Sequence[Measure]
    routes: Sequence[tuple[str, int, float | None, float | None]]
    rejections: Mapping[str, int]
    models: Sequence[ModelStatus]
    swaps: Sequence[SwapStatus]
