"""What of a match takes long and is not what a test is about: processes, and the pictures of the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rockbank.matching.methods.interface import Progress, WorkerContext
from rockbank.matching.methods.workers import advance


class Here:
    """A Pool of no process but this one."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context

    def members(self, members: Sequence[int], on_progress: Callable[[Progress], None]) -> None:
        for i in members:
            advance(self._context, i, on_progress, lambda: False)

    def map(self, function: Callable[[Any, Any], Any], arguments: Sequence[Any], done: Callable[[], None]) -> list[Any]:
        results = []
        for argument in arguments:
            results.append(function(self._context, argument))
            done()
        return results


@contextmanager
def pool_here(
    make: Callable[..., WorkerContext], arguments: Mapping[str, Any], workers: int, *_: object
) -> Iterator[Here]:
    """In the place of `workers.pool`; on one thread, as its processes are, so that the bits are the same."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield Here(make(**arguments))
    finally:
        torch.set_num_threads(n_threads)


@contextmanager
def rough_pictures() -> Iterator[None]:
    """The report's pictures are drawn all the same, but small and without a layout, which is most of their time."""

    def to_png(figure: Figure) -> bytes:
        figure.set_layout_engine("none")
        figure.set_dpi(20)
        file = BytesIO()
        # savefig would draw twice, the first time for the layout.
        FigureCanvasAgg(figure).print_png(file)
        return file.getvalue()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rockbank.matching.results.report.to_png", to_png)
        yield
