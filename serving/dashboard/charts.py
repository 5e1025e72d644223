"""Charts of the status page as SVG: the page needs no script for them, and no library.

Colours and strokes are classes of static/page.css, so that they follow the reader's light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from serving.dashboard.status import CorrelationStatus

_WIDTH, _HEIGHT = 520, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 12, 38
_SPARK_WIDTH, _SPARK_HEIGHT = 132, 30
# The farthest lag of the chart, pixels: beyond it S2 is flat.
_LAG_MAX = 64


def sparkline(history: Sequence[float | None]) -> Markup:
    """A line of the last minutes, from 0 to the greatest value; gaps where nothing was measured."""
    known = [value for value in history if value is not None]
    top = max(known, default=0.0) or 1.0
    step = _SPARK_WIDTH / max(1, len(history) - 1)
    runs: list[list[str]] = [[]]
    for i, value in enumerate(history):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{i * step:.1f},{_SPARK_HEIGHT - 2 - value / top * (_SPARK_HEIGHT - 4):.1f}")
    lines = "".join(f'<polyline points="{" ".join(run)}"/>' for run in runs if len(run) > 1)
    return Markup(  # nosec B704  # numbers alone
        f'<svg class="spark" viewBox="0 0 {_SPARK_WIDTH} {_SPARK_HEIGHT}" preserveAspectRatio="none" '
        f'aria-hidden="true">{lines}</svg>'
    )


def correlation_chart(correlation: CorrelationStatus, title: str) -> Markup:
    """S2 against lag on a logarithmic axis: the rock's mean and band, the served samples' points."""
    shown = [i for i, lag in enumerate(correlation.lags) if 1 <= lag <= _LAG_MAX]
    if not shown:
        return Markup("")
    lags = [correlation.lags[i] for i in shown]
    mean = [correlation.mean[i] for i in shown]
    low = [max(0.0, correlation.mean[i] - correlation.std[i]) for i in shown]
    high = [correlation.mean[i] + correlation.std[i] for i in shown]
    served = {lag: at for lag, at in sorted(correlation.served.items()) if lags[0] <= lag <= lags[-1]}
    top = _ceiling(max([*high, *(value + std for value, std in served.values())]))
    span = math.log2(lags[-1]) or 1.0

    def x(lag: float) -> float:
        return _LEFT + math.log2(lag) / span * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _BOTTOM - _TOP)

    def points(xs: Sequence[float], ys: Sequence[float]) -> str:
        return " ".join(f"{x(lag):.1f},{y(value):.1f}" for lag, value in zip(xs, ys, strict=True))

    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
    ]
    for i in range(5):
        value = top * i / 4
        parts.append(
            f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        )
        parts.append(f'<text class="tick end" x="{_LEFT - 7}" y="{y(value) + 4:.1f}">{value:.3g}</text>')
    lag = 1
    while lag <= lags[-1]:
        parts.append(f'<text class="tick middle" x="{x(lag):.1f}" y="{_HEIGHT - _BOTTOM + 16}">{lag}</text>')
        lag *= 2
    about = f"lag, pixels of {length(correlation.voxel_size)}"
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="label middle" x="{middle}" y="{_HEIGHT - 5}">{about}</text>')
    parts.append(f'<polygon class="band" points="{points(lags + lags[::-1], high + low[::-1])}"/>')
    parts.append(f'<polyline class="rock" points="{points(lags, mean)}"/>')
    if len(served) > 1:
        parts.append(f'<polyline class="served" points="{points(list(served), [m for m, _ in served.values()])}"/>')
    for lag, (value, std) in served.items():
        parts.append(
            f'<line class="whisker" x1="{x(lag):.1f}" x2="{x(lag):.1f}" '
            f'y1="{y(max(0.0, value - std)):.1f}" y2="{y(value + std):.1f}"/>'
        )
        parts.append(f'<circle class="served" cx="{x(lag):.1f}" cy="{y(value):.1f}" r="3.5"/>')
    return Markup("".join([*parts, "</svg>"]))  # nosec B704  # numbers alone


def _ceiling(value: float) -> float:
    """The least of 1, 2, 4, 5, 8 times a power of ten that is not below `value`."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value)


def length(metres: float) -> str:
    """A length in the unit in which it is at least 1."""
    for scale, unit in ((1.0, "m"), (1e-3, "mm"), (1e-6, "µm")):
        if metres >= scale:
            return f"{metres / scale:.3g} {unit}"
    return f"{metres / 1e-9:.3g} nm"
