"""Whether sand connects the injectors with the producers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage


def is_connected(
    facies: Float[np.ndarray, "m j i"],
    injector: Int[np.ndarray, "n 2"],
    producer: Int[np.ndarray, "k 2"],
    n_dilations: int = 0,
) -> Bool[np.ndarray, " m"]:
    """Whether a path of face-connected sand cells leads from an injecting perforation to a producing one.

    The published count (Mosser, Dubrule and Blunt 2019) is made before and after one dilation, which closes gaps of
    up to two cells.

    Args:
        facies: probability of sand; sand is above 0.5.
        injector: places (j, i) of perforations.
        producer: likewise.
        n_dilations: of the sand by its face neighbours, before.
    """
    found = np.zeros(len(facies), dtype=bool)
    for each, is_sand in enumerate(facies > 0.5):
        grown = ndimage.binary_dilation(is_sand, iterations=n_dilations) if n_dilations else is_sand
        bodies, _ = ndimage.label(grown)
        injected, produced = (set(bodies[at[:, 0], at[:, 1]].tolist()) - {0} for at in (injector, producer))
        found[each] = bool(injected & produced)
    return found
