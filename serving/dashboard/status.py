"""What the status page shows: plain values, which `gather` takes from the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rockbank.generator.card import ModelCard


@dataclass(frozen=True, kw_only=True)
class LoadedStatus:
    """What is known of a version because it is loaded.

    Attributes:
        card: of it, verified.
        provider: what its session runs on.
        batches: sizes of its batches.
        n_samples: computed since the start.
        golden: largest difference from its golden sample, at the last run.
        golden_holds: whether that is within the tolerance.
        tile_side: pixels of a tile of its endless image; None where it makes images of one size.
    """

    card: ModelCard
    provider: str
    batches: Sequence[int]
    n_samples: int
    golden: float
    golden_holds: bool
    tile_side: int | None


@dataclass(frozen=True, kw_only=True)
class VersionStatus:
    """One version, loaded or only registered.

    Attributes:
        version: its number in the registry.
        roles: what it does here: current, previous, canary, shadow; none where it is not loaded.
        aliases: that the registry gives it.
        created: in the registry.
        generator: its name in params.yaml.
        scores: those of card.HEADLINE, as far as they are known.
        run_id: the MLflow run that trained it.
        data_md5: DVC's md5 of what it was trained on.
        gate: what the gate said.
        loaded: None where it is only registered.
    """

    version: str
    roles: tuple[str, ...]
    aliases: tuple[str, ...]
    created: datetime
    generator: str
    scores: Mapping[str, float]
    run_id: str | None
    data_md5: str | None
    gate: str
    loaded: LoadedStatus | None


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
    """One configured model.

    Attributes:
        name: in the registry.
        alias: that is followed.
        problem: why what the alias names is not served, or could not be read.
        versions: those loaded first, then the newest of the registry.
        n_more: versions of the registry that are left out.
        correlation: of the current version; None without one, or where its reference has none.
        statistics: of the current version's last window.
        n_window: samples in a window.
    """

    name: str
    alias: str
    problem: str | None
    versions: Sequence[VersionStatus]
    n_more: int
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
