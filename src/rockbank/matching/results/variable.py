"""A variable of the dataset, of what was predicted of the members."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from rockbank.matching.results.forecast import Prediction

# Dimensions, values and attributes.
Variable = tuple[tuple[str, ...], Any, Mapping[str, Any]]


def stacked(
    predictions: Sequence[Sequence[Prediction | str | None]],
    of: Callable[[Prediction], Any],
    shape: tuple[int, ...] = (),
) -> Float[np.ndarray, "e m ..."]:
    """Something of all that could be simulated; NaN of the rest."""
    nothing = np.full(shape, np.nan)
    return np.array([[of(each) if isinstance(each, Prediction) else nothing for each in row] for row in predictions])
