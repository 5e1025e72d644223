"""Whether a cluster of a phase spans a section from one column to another, such as those of two wells."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from rockbank.core.errors import InputError


def are_columns_connected(
    phase: Bool[np.ndarray, "n h w"], first_column: int, second_column: int
) -> Bool[np.ndarray, " n"]:
    """In which samples a cluster of the phase has a cell in both columns.

    Cells belong together by their faces (4 neighbours), so that two which touch at a corner do not. A path may lead
    through any cell of the section, those outside the two columns included.

    Args:
        phase: sections of rows and columns.
        first_column: counted from 0.
        second_column: likewise.

    Raises:
        InputError: for a column outside the section.
    """
    n, _, width = phase.shape
    for column in (first_column, second_column):
        if not 0 <= column < width:
            raise InputError(f"column: got {column}; the section has columns 0 to {width - 1}")
    faces = ndimage.generate_binary_structure(3, 1)
    faces[0] = faces[-1] = False  # samples do not touch each other
    labels, n_clusters = ndimage.label(phase, structure=faces)
    reached = [np.zeros(n_clusters + 1, dtype=bool) for _ in range(2)]
    owner = np.zeros(n_clusters + 1, dtype=np.intp)
    owner[labels.reshape(n, -1)] = np.arange(n)[:, None]
    for has_cell, column in zip(reached, (first_column, second_column), strict=True):
        has_cell[labels[:, :, column]] = True
    both = reached[0] & reached[1]
    both[0] = False  # the rest of the rock
    connected = np.zeros(n, dtype=bool)
    connected[owner[both]] = True
    return connected
