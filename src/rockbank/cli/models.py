"""Commands of the registry."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from rockbank.cli.sample import Model
from rockbank.core.errors import InputError
from rockbank.core.terminal import stdout
from rockbank.params import PARAMS, load_params

if TYPE_CHECKING:
    from rockbank.mlops.registry import Entry

# In the order of card.HEADLINE.
_HEADS = ("FID", "KID", "S2 dist.", "diversity", "memor.")
Name = Annotated[str, typer.Argument(help="a registered model, such as shale", metavar="NAME")]


def models(
    name: Annotated[str | None, typer.Argument(help="one registered model; all where it is left out")] = None,
    next_commands: Annotated[bool, typer.Option("--next", help="and what to type next")] = False,
) -> None:
    """List the registered generators with their scores."""
    from rockbank.mlops import registry

    if name:
        _require_name(name)
    entries = [entry for model in ([name] if name else registry.names()) for entry in registry.versions(model)]
    if name and not entries:
        raise InputError(f"'{name}': no version of it is registered; known are {registry.names()}")
    if not entries:
        stdout.print("no generator is registered yet; 'dvc repro' makes and registers them")
        return
    stdout.print(table_of(entries))
    stdout.print("FID, KID, S2 distance to held-out rock: the less the better. Diversity: 1 is the rock's.")
    stdout.print("Memorisation (memor.): 1 is as far from the training crops as rock never seen, 0 is a copy of them.")
    for extractor in sorted({entry.tags.get("extractor", "unknown") for entry in entries}):
        stdout.print(f"Extractor: {extractor}; scores of different ones are not comparable.")
    if next_commands:
        stdout.print(
            "\nNext (after 'source .venv/bin/activate'):\n"
            "  rockbank sample shale@champion --n 16 --seed 7 -o grid.png    look at generated rock\n"
            "  make ui                                                       compare the runs in the MLflow UI\n"
            "  rockbank data add SCAN.tif --voxel-size 60e-9 --replace       train on your own scan"
        )


def table_of(entries: Sequence[Entry]) -> Table:
    """A row for each version, with its aliases and scores; it fits a terminal of 80 columns."""
    from rockbank.generator.card import HEADLINE

    # A space on one side of a column is enough: the box has another.
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("model", "generator", *_HEADS):
        table.add_column(column, no_wrap=True)
    for entry in entries:
        table.add_row(
            "\n".join((f"{entry.name}/{entry.version}", *(f"@{alias}" for alias in entry.aliases))),
            entry.tags.get("generator", ""),
            *(_short(entry.tags.get(metric)) for metric in HEADLINE),
        )
    return table


def _short(value: str | None) -> str:
    if value is None:
        return ""
    number = float(value)
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def show(model: Model) -> None:
    """Show one generator: where it comes from, its scores, its files."""
    from rockbank.mlops import registry

    with tempfile.TemporaryDirectory() as temporary:
        entry, card = registry.pull(model, Path(temporary) / "pulled")
    about = Table(show_header=False, title=f"{entry.name}/{entry.version}  {' '.join('@' + a for a in entry.aliases)}")
    rows = {
        "generator": f"{card.generator} ({card.network}, {card.loss})",
        "latent": " x ".join(map(str, card.latent_shape)),
        "image": " x ".join(map(str, card.image_shape)),
        "voxel size": f"{card.voxel_size:g} m",
        "scans": card.scan_names or "none that the card names",
        "data md5": card.data_md5,
        "git commit": card.git_commit or "not known",
        "MLflow run": entry.run_id,
        "ONNX against torch": f"{card.parity:.2g}",
    }
    for key, value in rows.items():
        about.add_row(key, str(value))
    stdout.print(about)
    _print_scores(card.scores)
    files = Table("file", "sha256")
    for file, fingerprint in card.files.items():
        files.add_row(file, fingerprint)
    stdout.print(files)


def _print_scores(scores: dict[str, object], prefix: str = "") -> None:
    for key, value in scores.items():
        if isinstance(value, dict):
            _print_scores(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            stdout.print(f"  {prefix}{key}: {value:.4g}" if isinstance(value, float) else f"  {prefix}{key}: {value}")


def register(
    family: Annotated[str | None, typer.Argument(help="one family of rock; all where it is left out")] = None,
) -> None:
    """Register what was pulled or made here and passed the gate, each version with its MLflow run."""
    from rockbank.stages.register import NonePassed
    from rockbank.stages.register import register as step

    params = load_params(PARAMS)
    if family is not None and family not in params.gate:
        raise InputError(f"'{family}' has no section in 'gate' of {PARAMS}; known are {sorted(params.gate)}")
    # One family does not wait for another to pass.
    refusals = []
    for each in [family] if family else params.gate:
        try:
            step(each, params.of_family(each))
        except NonePassed as refusal:
            refusals.append(str(refusal))
    if refusals:
        raise NonePassed("\n".join(refusals))


def promote(
    name: Name,
    version: Annotated[str | None, typer.Option(help="the candidate where it is left out")] = None,
    first: Annotated[bool, typer.Option("--first", help="do nothing where there is a champion")] = False,
) -> None:
    """Make a version the champion, if its files, its verdict and its scores hold."""
    from rockbank.mlops import promotion

    _require_name(name)
    if first and (champion := promotion.settle(name)) is not None:
        stdout.print(f"{name}@champion is version {champion.version} already")
        return
    entry, before = promotion.promote(name, load_params(PARAMS).gate, version)
    was = f"; before, it was version {before.version}" if before else ""
    stdout.print(f"{name}@champion is version {entry.version}, {entry.tags['generator']}{was}")


def rollback(name: Name) -> None:
    """Give the title back to the champion before this one."""
    from rockbank.mlops import promotion

    _require_name(name)
    entry, left, deleted = promotion.rollback(name)
    for version in deleted:
        stdout.print(f"passed over version {version}, which was deleted")
    was = "there was none" if left is None else f"it was version {left.version}"
    stdout.print(f"{name}@champion is version {entry.version} again; {was}")


def _require_name(name: str) -> None:
    """Refuse what names a version, as the list of models does: MLflow's own answer has no remedy."""
    if (alone := re.split("[/@:]", name)[0]) != name:
        raise InputError(f"'{name}': give the name of the registered model alone, such as '{alone or 'shale'}'")


def import_(
    path: Annotated[Path, typer.Argument(help="a state dict, .pth or .safetensors; read without running its code")],
    network: Annotated[str, typer.Option(help="the table's entry that it fits, such as deepflow")],
    family: Annotated[str, typer.Option(help="the rock on whose held-out crops it is scored, such as channels")],
    name: Annotated[str, typer.Option(help="what to call the generator, such as deepflow-published")],
    latent: Annotated[str, typer.Option(help="shape of one latent")] = "50,1,2",
    register_as: Annotated[str | None, typer.Option("--as", help="the registered model; else the family's")] = None,
    source: Annotated[str, typer.Option(help="where the weights come from")] = "not stated",
) -> None:
    """Import a foreign generator: the same score, export, gate and registration as of our own."""
    from rockbank.stages.import_weights import import_weights

    try:
        shape = tuple(int(size) for size in latent.split(","))
    except ValueError:
        raise InputError(f"--latent: got '{latent}'; use whole numbers, such as 50,1,2") from None
    import_weights(
        path,
        network=network,
        latent=shape,
        family=family,
        name=name,
        register_as=register_as,
        source=source,
        params=load_params(),
    )
    stdout.print(f"\nNext:\n  rockbank promote {register_as or family}")
