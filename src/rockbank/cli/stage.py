"""The command `rockbank stage`."""

from __future__ import annotations

from typing import Annotated

import typer

from rockbank.cli.executor_option import Executor
from rockbank.core.errors import InputError
from rockbank.core.terminal import report_user_errors, stdout
from rockbank.executors.choose import LOCAL, check_executor
from rockbank.params import Params, load_params

_PREPARE, _EMBED = "prepare", "embed"
# As stages.spread.GENERATOR_STAGES, whose import is of torch.
_OF_GENERATORS = ("train", "score", "export")


def stage(
    stages: Annotated[
        str,
        typer.Argument(
            metavar="STAGES", help="prepare, embed, or some of train,score,export, which each generator does in turn"
        ),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="families of embed, generators of the others; all where none is said"),
    ] = None,
    executor: Executor = LOCAL,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="tasks of one thread at a time; else one for each core, of the Ray cluster too"),
    ] = None,
) -> None:
    """Do stages of the pipeline with their independent parts as tasks: slices of scans, batches of crops, generators.

    The outputs are those of the stages on one thread, bit for bit. A generator that fails holds up no other.
    """
    check_executor(executor, workers)
    params = load_params()
    wanted, of = _wanted(stages), list(dict.fromkeys(names or []))
    _check_names(wanted, of, params)
    with report_user_errors():
        # Torch comes after what is wrong has been reported.
        from rockbank.stages import spread

        with spread.project_executor(executor, workers, params) as opened:
            if wanted == (_PREPARE,):
                spread.spread_prepare(opened, params)
            elif wanted == (_EMBED,):
                of = of or list(params.check)
                spread.spread_embed(opened, of, params)
            else:
                of = of or list(params.generators)
                spread.spread_generators(opened, wanted, of)
    targets = [f"{each}@{name}" for each in wanted for name in of if name not in params.challengers]
    if targets or not of:
        stdout.print(f"\nNext:\n  dvc commit -f {' '.join(targets or wanted)}")


def _wanted(stages: str) -> tuple[str, ...]:
    """The stages of a text, in their order."""
    said = {each.strip() for each in stages.split(",")}
    if said in ({_PREPARE}, {_EMBED}):
        return tuple(said)
    unknown = sorted(said - {*_OF_GENERATORS})
    if unknown:
        raise InputError(f"STAGES: got '{stages}'; use {_PREPARE}, {_EMBED}, or some of {','.join(_OF_GENERATORS)}")
    wanted = tuple(each for each in _OF_GENERATORS if each in said)
    if wanted == ("train", "export"):
        raise InputError(f"STAGES: got '{stages}'; the card has the scores, so that export comes after score: name it "
                         "too")  # fmt: skip
    return wanted


def _check_names(wanted: tuple[str, ...], names: list[str], params: Params) -> None:
    if wanted == (_PREPARE,):
        if names:
            raise InputError(f"NAME: got {names}; prepare is of all volumes, leave the names out")
        return
    known = sorted(params.check) if wanted == (_EMBED,) else sorted(params.all_generators)
    unknown = [name for name in names if name not in known]
    if unknown:
        what = "family" if wanted == (_EMBED,) else "generator"
        raise InputError(f"NAME: no {what} {', '.join(map(repr, unknown))} in params.yaml; known are {known}")
