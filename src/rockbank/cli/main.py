"""The command `rockbank`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from rockbank.cli.drift import drift
from rockbank.cli.match import match_app
from rockbank.core.layout import errors_told, print_rows, stdout
from rockbank.params import PARAMS, load_params

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A bank of rock generators: trained from scans, measured, gated, registered, sampled.",
)
data_app = typer.Typer(no_args_is_help=True, help="The raw scans under data/.")
app.add_typer(data_app, name="data")
app.command()(drift)
app.add_typer(match_app, name="match", help="Match a case's production history in a generator's latent space.")

_N_MAX = 100_000
# As short as they have to be for a terminal of 80 columns; in the order of card.HEADLINE.
_HEADS = ("FID", "KID", "S2 dist.", "diversity", "memor.")

Model = Annotated[str, typer.Argument(help="NAME@ALIAS such as shale@champion, or NAME/VERSION", metavar="MODEL")]
Name = Annotated[str, typer.Argument(help="a registered model, such as shale", metavar="NAME")]


class ExtraMissing(RuntimeError):
    """A part of the command needs what is not installed."""


def main() -> None:
    """Run the command; what the user can mend is one line on standard error, and exit status 1."""
    with errors_told():
        app()


@data_app.command("add")
def data_add(
    paths: Annotated[list[Path], typer.Argument(help="files, or a folder of slices, which is one volume")],
    voxel_size: Annotated[float | None, typer.Option(help="metres, such as 60e-9")] = None,
    smoothing: Annotated[float, typer.Option(help="pixels; sigma of the Gaussian before the threshold")] = 1.5,
    threshold: Annotated[str, typer.Option(help="'otsu', or a grey value in [0, 1]")] = "otsu",
    licence: Annotated[str, typer.Option(help="of the scans, such as CC-BY-4.0")] = "not stated",
    source: Annotated[str, typer.Option(help="where the scans come from")] = "not stated",
    folder: Annotated[Path, typer.Option(help="where the volumes and their manifest lie")] = Path("data"),
    dataset: Annotated[str | None, typer.Option(help="which data set of an HDF5 file")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="take the place of the volumes that lie there")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be added, and write nothing")] = False,
) -> None:
    """Add scans: TIFF, PNG, npy, HDF5, or raw with a JSON side-car; 8, 16 or 32 bits."""
    from rockbank.data.manifest import SegmentationRule
    from rockbank.data.volumes import add_volumes

    entries = add_volumes(
        paths,
        folder,
        voxel_size=voxel_size,
        segmentation=SegmentationRule(smoothing=smoothing, threshold=_threshold(threshold)),
        licence=licence,
        source=source,
        dataset=dataset,
        replace=replace,
        dry_run=dry_run,
        track=lambda each: track(each, "reading scans", console=Console(stderr=True)),
    )
    for entry in entries:
        stdout.print(f"{'would add' if dry_run else 'added'} {folder / entry.file}  {entry.voxel_size:g} m per voxel")
    if not dry_run:
        stdout.print(f"\nNext:\n  dvc add {folder}\n  dvc repro")


def _threshold(text: str) -> float | Literal["otsu"]:
    if text == "otsu":
        return "otsu"
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--threshold: got '{text}'; use 'otsu' or a grey value in [0, 1]") from None


@data_app.command("sample")
def data_sample(
    folder: Annotated[Path, typer.Option(help="where to write it")] = Path("data"),
    seed: Annotated[int, typer.Option(help="of the synthetic rock")] = 20,
) -> None:
    """Make the synthetic Nano-CT shale that the repository's sample data is."""
    from rockbank.data.synthetic.shale import write_sample

    write_sample(folder, seed, track=lambda each: track(each, "drawing slices", console=Console(stderr=True)))
    stdout.print(f"wrote the synthetic shale to {folder}\n\nNext:\n  dvc add {folder}")


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="one registered model; all where it is left out")] = None,
    next_commands: Annotated[bool, typer.Option("--next", help="and what to type next")] = False,
) -> None:
    """List the registered generators with their scores."""
    from rockbank.generator.card import HEADLINE
    from rockbank.mlops import registry

    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for column in ("model", "generator", *_HEADS):
        table.add_column(column, no_wrap=True)
    extractors = set()
    for model in [name] if name else registry.names():
        for entry in registry.versions(model):
            extractors.add(entry.tags.get("extractor", "unknown"))
            table.add_row(
                "\n".join((f"{entry.name}/{entry.version}", *(f"@{alias}" for alias in entry.aliases))),
                entry.tags.get("generator", ""),
                *(_short(entry.tags.get(metric)) for metric in HEADLINE),
            )
    if not table.row_count:
        stdout.print("no generator is registered yet; 'dvc repro' makes and registers them")
        return
    stdout.print(table)
    stdout.print("FID, KID, S2 distance to held-out rock: the less the better. Diversity: 1 is the rock's.")
    stdout.print("Memorisation (memor.): 1 is as far from the training crops as rock never seen, 0 is a copy of them.")
    for extractor in sorted(extractors):
        stdout.print(f"Extractor: {extractor}; scores of different ones are not comparable.")
    if next_commands:
        stdout.print(
            "\nNext (after 'source .venv/bin/activate'):\n"
            "  rockbank sample shale@champion --n 16 --seed 7 -o grid.png    look at generated rock\n"
            "  make ui                                                       compare the runs in the MLflow UI\n"
            "  rockbank data add SCAN.tif --voxel-size 60e-9 --replace       train on your own scan"
        )


def _short(value: str | None) -> str:
    if value is None:
        return ""
    number = float(value)
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


@app.command()
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
        "data md5": card.data_md5,
        "git commit": card.git_commit,
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


@app.command()
def register(
    family: Annotated[str | None, typer.Argument(help="one family of rock; all where it is left out")] = None,
) -> None:
    """Register what was pulled or made here and passed the gate, each version with its MLflow run."""
    from rockbank.stages.register import register as step

    params = load_params(PARAMS)
    if family is not None and family not in params.gate:
        raise ValueError(f"'{family}' has no section in 'gate' of {PARAMS}; known are {sorted(params.gate)}")
    for each in [family] if family else params.gate:
        step(each, params.of_family(each))


@app.command()
def promote(
    name: Name,
    version: Annotated[str | None, typer.Option(help="the candidate where it is left out")] = None,
    first: Annotated[bool, typer.Option("--first", help="do nothing where there is a champion")] = False,
) -> None:
    """Make a version the champion, if its files, its verdict and its scores hold."""
    from rockbank.mlops import registry

    if first and (champion := registry.champion(name)) is not None:
        stdout.print(f"{name}@champion is version {champion.version} already")
        return
    entry, before = registry.promote(name, load_params(PARAMS).gate, version)
    was = f"; before, it was version {before.version}" if before else ""
    stdout.print(f"{name}@champion is version {entry.version}, {entry.tags['generator']}{was}")


@app.command()
def rollback(name: Name) -> None:
    """Give the title back to the champion before this one."""
    from rockbank.mlops import registry

    entry, left = registry.rollback(name)
    stdout.print(f"{name}@champion is version {entry.version} again; it was version {left.version}")


@app.command()
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
) -> None:
    """Sample a registered generator to a picture, an array or a TIFF stack; an endless one at any size."""
    from rockbank.generator.conditional import parse_condition
    from rockbank.generator.windows import parse_size, parse_window
    from rockbank.workflows import sample as step

    wanted = {"porosity": porosity, "specific_surface": specific_surface}
    conditions = [parse_condition(name, text) for name, text in wanted.items() if text is not None]
    if len(conditions) > 1:
        raise ValueError("--porosity and --specific-surface: give one of them")
    condition = conditions[0] if conditions else None
    if condition is not None and (size is not None or window is not None):
        raise ValueError(f"a {condition} is had of samples of the generator's own size: leave --size and --window out")
    if size is not None and window is not None:
        raise ValueError(f"--size {size} and --window {window}: give one of them; a size is a window at (0, 0)")
    if size is not None or window is not None:
        asked = parse_size(size) if size is not None else parse_window(str(window))
        # Typer would end a Ctrl-C without a word.
        with errors_told():
            stdout.print(
                step.window_here(model, output, asked, n or 1, seed, truncation)
                if url is None
                else step.window_there(url, model, output, asked, n or 1, seed, truncation)
            )
        return
    n = 16 if n is None else n
    if url is None:
        with errors_told():
            stdout.print(step.sample_here(model, output, n, seed, truncation, condition))
    else:
        stdout.print(step.sample_there(url, model, output, n, seed, truncation, condition))


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="a state dict, .pth or .safetensors; read without running its code")],
    network: Annotated[str, typer.Option(help="the table's entry that it fits, such as deepflow")],
    family: Annotated[str, typer.Option(help="the rock on whose held-out crops it is scored, such as channels")],
    name: Annotated[str, typer.Option(help="what to call the generator, such as deepflow-published")],
    latent: Annotated[str, typer.Option(help="shape of one latent")] = "50,1,2",
    register_as: Annotated[str | None, typer.Option("--as", help="the registered model; else the family's")] = None,
    source: Annotated[str, typer.Option(help="where the weights come from")] = "not stated",
) -> None:
    """Bring a foreign generator through the same score, export, gate and registration."""
    from rockbank.stages.import_weights import bring

    try:
        shape = tuple(int(size) for size in latent.split(","))
    except ValueError:
        raise ValueError(f"--latent: got '{latent}'; use whole numbers, such as 50,1,2") from None
    bring(
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


@app.command()
def simulate(
    case: Annotated[Path, typer.Argument(help="a case file, such as cases/deepflow.yaml, or an Eclipse deck")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="NetCDF; else CASE.nc, here")] = None,
    picture: Annotated[Path | None, typer.Option(help="PNG of rates, pressures and maps")] = None,
    deck: Annotated[Path | None, typer.Option(help="write the case as an Eclipse deck too, NAME.DATA")] = None,
    summary: Annotated[bool, typer.Option("--summary", help="write an Eclipse summary beside the NetCDF")] = False,
    method: Annotated[str | None, typer.Option(help="auto, sequential or newton; else the case's")] = None,
    tolerance: Annotated[float | None, typer.Option(help="of the sequential method; else the case's")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="read and check the case, and write nothing")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="how each report step converged")] = False,
) -> None:
    """Simulate the flow of oil and water in a case."""
    from rockbank.workflows import simulate as step

    results = output or Path(f"{case.stem}.nc")
    outputs = step.Outputs(
        results=results, picture=picture, deck=deck, summary=results.with_suffix(".SMSPEC") if summary else None
    )
    loaded = step.load(case, method=method, tolerance=tolerance)
    for note in loaded.notes:
        stdout.print(f"note: {note}")
    if dry_run:
        print_rows(step.about_case(loaded))
        return
    # Typer would end a Ctrl-C without a word.
    with errors_told():
        done = step.run(loaded, outputs)
    if verbose:
        table = Table(box=SIMPLE_HEAD, padding=(0, 1))
        for column in ("step", "day", "method", "iterations", "cut into", "residual", "note"):
            table.add_column(column)
        for row in step.about_steps(done):
            table.add_row(*row)
        stdout.print(table)
    print_rows(step.about_case(loaded) | step.about_run(done))
    for path in done.written:
        stdout.print(f"wrote {path}")


@app.command()
def observe(
    case: Annotated[Path, typer.Argument(help="a case file, such as cases/deepflow.yaml, or an Eclipse deck")],
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV")] = Path("observations.csv"),
    observed: Annotated[
        str | None,
        typer.Option(help="such as 'INJ:bhp PROD:water_rate,oil_rate'; else injectors' pressures, producers' rates"),
    ] = None,
    sigma_bhp: Annotated[str | None, typer.Option(help="standard deviation of pressures, such as '2 bar'")] = None,
    sigma_rate: Annotated[str | None, typer.Option(help="standard deviation of rates, such as '9 m3/day'")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the noise; the same seed gives the same")] = 7,
    tolerance: Annotated[float | None, typer.Option(help="of the sequential method; else the case's")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="read and check the case, and write nothing")] = False,
) -> None:
    """Make noisy observations of a case, to match against: its own rock is their truth."""
    from rockbank.workflows import observe as step
    from rockbank.workflows.simulate import about_case, load

    loaded = load(case, tolerance=tolerance)
    plan = step.Plan(
        observed=step.read_observed(observed, loaded),
        sigma=step.read_sigma(sigma_bhp, sigma_rate),
        seed=seed,
        output=output,
    )
    print_rows(about_case(loaded) | step.about_plan(loaded, plan))
    if dry_run:
        return
    # Typer would end a Ctrl-C without a word.
    with errors_told():
        step.run(loaded, plan)
    stdout.print(f"wrote {output}")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="address to listen on; else ROCKBANK_HOST, 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one; else ROCKBANK_PORT, 8000")] = None,
    models: Annotated[
        str | None, typer.Option(help="NAME@ALIAS, separated by commas; else ROCKBANK_MODELS, both champions")
    ] = None,
) -> None:
    """Serve the registered generators over HTTP, and follow the registry; every setting is a ROCKBANK_ variable."""
    try:
        from serving.base.settings import load_settings
        from serving.run import run
    except ModuleNotFoundError as error:
        raise ExtraMissing(
            f"'{error.name}' is not installed; the service needs its extra: pip install 'rockbank[serve]'"
        ) from error
    run(load_settings(host=host, port=port, models=models), typer.echo)


if __name__ == "__main__":
    main()
