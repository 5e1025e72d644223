"""How a loop is compiled by numba, and the arrays that loops take.

Cells are numbered as `CellOrdering` numbers them: faces go from the lesser number (`lower`) to the greater (`upper`).
SI units and surface volumes throughout: pressures in Pa, transmissibilities in m^3, mobilities lam_a and
m_a = b_a lam_a in 1/(Pa s), fluxes and residuals in m^3/s; b_a is the volume at the reference pressure that one volume
of phase a takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from jaxtyping import Float, Int
from numba import njit
from numba import uint64 as _uint64

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
Cells = Float[np.ndarray, " n"]
Faces = Float[np.ndarray, " f"]
CellOf = Int[np.ndarray, " f"]
# In numba's own stubs a type is no function.
uint64 = cast(Callable[[int], Any], _uint64)


def compiled(kernel: Kernel) -> Kernel:
    """For the machine, kept on disk; sums may be reordered, but NaN and infinity stay what they are.

    What numba keeps of a loop has the loops that it calls in it, and numba drops it only where the loop's own file
    changes. Here it is dropped wherever a file of this folder or of one in it does. That needs a part of numba that is
    not public: under a version that has another one, nothing is kept on disk.
    """
    fast = {"contract", "reassoc", "nsz", "arcp"}
    loop: Any = njit(cache=True, nogil=True, error_model="numpy", fastmath=fast)(kernel)
    file: Any = getattr(getattr(loop, "_cache", None), "_cache_file", None)
    if not hasattr(file, "_source_stamp"):
        return cast(Kernel, njit(nogil=True, error_model="numpy", fastmath=fast)(kernel))
    file._source_stamp = file._source_stamp, folder_stamp(Path(__file__).parent)
    return cast(Kernel, loop)


@cache
def folder_stamp(folder: Path) -> str:
    """SHA-256 of the modules of a folder and of those in it."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(folder.rglob("*.py")))).hexdigest()
