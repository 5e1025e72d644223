"""S2 of a 256 x 256 image: rockbank against porespy, in time and in error, in one run.

    python benchmarks/s2.py

Both average over all directions and neither takes the image as periodic; rockbank's mean over the two axes,
which the scores and the monitor use, is timed beside. Errors are those against counting pairs one lag at a time.
"""

from __future__ import annotations

import logging
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from rockbank.rock.correlation import radial_correlation, two_point_correlation

SIZE, REPEATS, N_LAGS, TARGET = 256, 15, 6, 20.0


def main() -> None:
    """Print times, their ratio and the errors at small lags."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from porespy.metrics import two_point_correlation as porespy_correlation
    rng = np.random.default_rng(1)
    texture = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), 3.0)
    pore = texture > np.quantile(texture, 0.8)

    theirs, found = _median_time(lambda: porespy_correlation(pore))
    radial, ours = _median_time(lambda: radial_correlation(pore))
    axes, _ = _median_time(lambda: two_point_correlation(pore))
    print(f"S2 of {SIZE} x {SIZE} pixels, median of {REPEATS} runs")
    print(f"  porespy, radial          {1e3 * theirs:8.2f} ms")
    print(f"  rockbank, radial         {1e3 * radial:8.2f} ms   {theirs / radial:6.1f} x")
    print(f"  rockbank, over the axes  {1e3 * axes:8.2f} ms   {theirs / axes:6.1f} x")
    print(f"  target for the radial one: {TARGET:g} x, {'met' if theirs / radial >= TARGET else 'MISSED'}")

    one_pixel = porespy_correlation(pore, bins=np.arange(SIZE // 2) - 0.5)
    lags, hits, tries = _count_pairs(pore, N_LAGS + 1)
    ring = np.rint(lags)
    print("\nS2 at small lags, and the error of each against counted pairs whose distance rounds to the lag")
    print(f"  {'lag':>5} {'counted':>9} {'rockbank':>10} {'porespy':>10} {'porespy, rings of 1 pixel':>26}")
    for r in range(N_LAGS):
        wanted = hits[ring == r].sum() / tries[ring == r].sum()
        theirs_at_r = np.interp(r, found.distance, found.probability_scaled)
        errors = (ours[r] - wanted, theirs_at_r - wanted, one_pixel.probability_scaled[r] - wanted)
        print(f"  {r:5d} {wanted:9.5f} {errors[0]:10.1e} {errors[1]:10.1e} {errors[2]:26.1e}")
    print(
        f"  porespy's own rings are centred at {[float(each) for each in found.distance[:4]]}, and interpolated between"
    )


def _median_time(call: Callable[[], Any]) -> tuple[float, Any]:
    result, times = call(), []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def _count_pairs(pore: np.ndarray, r_max: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each lag vector up to `r_max` along an axis: its length, its pairs that are both pore, all its pairs."""
    lags, hits, tries = [], [], []
    for a in range(-r_max, r_max + 1):
        for b in range(-r_max, r_max + 1):
            here = pore[max(0, a) : SIZE + min(0, a), max(0, b) : SIZE + min(0, b)]
            there = pore[max(0, -a) : SIZE + min(0, -a), max(0, -b) : SIZE + min(0, -b)]
            lags.append(np.hypot(a, b))
            hits.append((here & there).sum())
            tries.append(here.size)
    return np.array(lags), np.array(hits), np.array(tries)


if __name__ == "__main__":
    main()
