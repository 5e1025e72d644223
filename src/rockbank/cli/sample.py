"""The command `rockbank sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rockbank.cli.executor_option import Executor
from rockbank.core.errors import InputError
from rockbank.core.terminal import report_user_errors, stdout
from rockbank.executors.choose import LOCAL

_N_MAX = 100_000
Model = Annotated[str, typer.Argument(help="NAME@ALIAS such as shale@champion, or NAME/VERSION", metavar="MODEL")]


def sample(
    model: Model,
    n: Annotated[
        int | None, typer.Option(min=1, max=_N_MAX, help="how many; else 16, or 1 with --size or --window")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="the same seed gives the same samples")] = 7,
    truncation: Annotated[float | None, typer.Option(help="scale of the latent; below 1, more typical")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="pixels, such as 4096x2048; of an endless generator")
    ] = None,
    window: Annotated[
        str | None, typer.Option(metavar="X,Y,W,H", help="of the endless image of the seed, such as -512,0,256,256")
    ] = None,
    porosity: Annotated[
        str | None, typer.Option(metavar="P|LOW..HIGH", help="keep samples of that porosity; 0.12 means 0.11..0.13")
    ] = None,
    specific_surface: Annotated[
        str | None, typer.Option(metavar="S|LOW..HIGH", help="likewise, 1/pixel; 0.12 means 0.11..0.13")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="grid.png, samples.npy or stack.tif")] = Path(
        "grid.png"
    ),
    url: Annotated[str | None, typer.Option(help="a server ('rockbank serve') that is to do it; else this machine")] = (
        None
    ),
    executor: Executor = LOCAL,
    workers: Annotated[int | None, typer.Option(min=1, help="tasks at a time, of an executor of many machines")] = None,
) -> None:
    """Sample a registered generator to a picture, an array or a TIFF stack; an endless one at any size."""
    from rockbank.generator.conditional import parse_condition
    from rockbank.generator.windows import parse_size, parse_window
    from rockbank.workflows import sample as step

    wanted = {"porosity": porosity, "specific_surface": specific_surface}
    conditions = [parse_condition(name, text) for name, text in wanted.items() if text is not None]
    if len(conditions) > 1:
        raise InputError("--porosity and --specific-surface: give one of them")
    condition = conditions[0] if conditions else None
    if condition is not None and (size is not None or window is not None):
        raise InputError(f"a {condition} is had of samples of the generator's own size: leave --size and --window out")
    if size is not None and window is not None:
        raise InputError(f"--size {size} and --window {window}: give one of them; a size is a window at (0, 0)")
    if executor != LOCAL and (url is not None or size is not None or window is not None):
        raise InputError(f"--executor {executor}: samples of the generator's own size are spread, made on this side; "
                         "leave it out, or --url, --size and --window")  # fmt: skip
    if workers is not None and executor == LOCAL:
        raise InputError(
            f"--workers {workers}: this machine samples with all its cores; leave it out, or name --executor"
        )
    if size is not None or window is not None:
        part = parse_size(size) if size is not None else parse_window(str(window))
        # Typer would end a Ctrl-C without a word.
        with report_user_errors():
            stdout.print(
                step.window_here(model, output, part, n or 1, seed, truncation)
                if url is None
                else step.window_there(url, model, output, part, n or 1, seed, truncation)
            )
        return
    n = 16 if n is None else n
    if url is None:
        with report_user_errors():
            stdout.print(step.sample_here(model, output, n, seed, truncation, condition, executor, workers))
    else:
        stdout.print(step.sample_there(url, model, output, n, seed, truncation, condition))
