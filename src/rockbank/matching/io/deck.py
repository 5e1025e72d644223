"""Observations in a deck: what WCONHIST and WCONINJH say was measured."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.deck import read_deck
from rockbank.matching.io.curves import Curve, CurvesSection, require_start
from rockbank.matching.problem.observations import QUANTITIES, Quantity


def curves_of_deck(
    path: Path, section: CurvesSection, start: datetime | None, wells: Sequence[str]
) -> dict[tuple[str, Quantity], Curve]:
    """The history of a deck at the ends of its report steps: all of it, or what is observed.

    Args:
        path: of the deck.
        section: what is observed; nothing is all.
        start: of the case; None is not known.
        wells: of the case.

    Raises:
        InputError: the deck cannot be read, starts at another date, or has no history of what is observed.
    """
    if section.nodata:
        raise InputError("nodata: a deck leaves out what was not measured; leave it out")
    case = read_deck(path)
    require_start(path, case.start, start)
    time = np.cumsum(case.schedule.steps)
    known = [(well, quantity) for well in wells for quantity in QUANTITIES
             if (section.called(well), quantity) in case.history]  # fmt: skip
    wanted = list(section.pairs()) if section.observed else known
    if missing := [f"{quantity} of {well}" for well, quantity in wanted if (well, quantity) not in known]:
        raise InputError(f"{path}: has no history of {', '.join(missing)}; leave it out of 'observed'")
    if not wanted:
        raise InputError(f"{path}: has no history of {list(wells)}; say it by WCONHIST and WCONINJH")
    return {(well, quantity): (time, case.history[section.called(well), quantity], None) for well, quantity in wanted}
