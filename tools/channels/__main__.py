"""How good a prior is a generator of channels? python -m tools.channels [FOLDER ...] [--published FOLDER]

Holds each generator against object models, and writes validation/channels.json, validation/channels.md and two
pictures. A FOLDER holds a generator as the pipeline trained or exported it; --published is the folder with DeepFlow's
weights. `--page` writes the page again from the JSON, without measuring. `--matches` adds what history matches made of
the priors, of runs that are there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from torch import nn

from rockbank.core.errors import InputError
from rockbank.core.files import read_json, replacing, write_json
from rockbank.core.terminal import report_user_errors, terminal
from rockbank.gan.networks import Softenable, find_network
from rockbank.gan.weights import load_foreign, load_generator, sample
from rockbank.generator.card import CARD, WEIGHTS, ModelCard
from rockbank.generator.latents import draw_latents
from rockbank.generator.ranges import to_intensity
from rockbank.matching.io.case_file import load_match_case
from rockbank.params import load_params
from rockbank.stages.blueprint import GENERATOR, Blueprint
from rockbank.stages.embed import extractors, load_embedded
from tools.channels.flow import Responses
from tools.channels.inversion import inversions
from tools.channels.measures import FLOOR, Law, Sections, Settings, find_law, flow_chance, measure
from tools.channels.page import PER_CELL, write_page
from tools.channels.pictures import N_SHOWN, draw_facies

FAMILY = "channels"
OBJECT_MODELS, PUBLISHED = "object models", "published"
CASE = Path("cases/deepflow.yaml")
# Of DeepFlow's published state dict.
NETWORK, LATENT, IMAGE = "deepflow", (50, 1, 2), (3, 64, 128)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the options name, or reads the report, and writes the page."""
    options = _parse(arguments)
    report = options.to / "validation" / "channels.json"
    facies = options.to / "pictures" / "channels_facies.png"
    if not options.page:
        params = load_params()
        settings = Settings(
            n_samples=options.samples,
            n_runs=options.runs,
            seed=params.score.seed,
            sand_proportion=params.channels.sand_proportion,
        )
        # Loaded before the first is measured: what is wrong with the last shows at once.
        generators = with_softened(read_generators(options.folders, options.published))
        extractor, _ = extractors(params.score)
        real = load_embedded(FAMILY, params.score)[extractor.name]["test"]
        law = find_law(settings, real, extractor, load_match_case(CASE) if options.runs else None)
        found, shown, responses = measure_all(generators, law, settings)
        write_json(report, found | _kept(report))
        draw_facies(facies, shown)
        if options.responses is not None:
            with replacing(options.responses) as beside, beside.open("wb") as file:
                np.savez(file, allow_pickle=False, **responses)
        terminal.print(f"{report}, {facies}")
    if options.matches:
        matched = inversions(options.matches, options.members)
        write_json(report, {**read_json(report), "inversion": matched})
    write_page(options.to, read_json(report))


def measure_all(
    generators: dict[str, tuple[nn.Module, Blueprint]], law: Law, settings: Settings
) -> tuple[dict[str, Any], dict[str, Float32[np.ndarray, "n h w"]], dict[str, Responses]]:
    """The report, the facies of some sections of each, and the responses in the case, those of the law among them.

    Object models that the law has not seen come first.
    """
    floor = settings.object_models(settings.n_samples, FLOOR)
    row, of_floor = measure(floor, law, settings, OBJECT_MODELS)
    rows, shown = {OBJECT_MODELS: row}, {OBJECT_MODELS: floor[:N_SHOWN, 0]}
    responses = {"law": law.responses, OBJECT_MODELS: of_floor}
    for name, (module, blueprint) in generators.items():
        sections = draw(module, blueprint, settings)
        rows[name], responses[name] = measure(sections, law, settings, name)
        shown[name] = sections[:N_SHOWN, 0]
    report = {
        "n_samples": settings.n_samples,
        "n_runs": settings.n_runs,
        "seed": settings.seed,
        "extractor": law.extractor.name,
        "case": str(CASE) if law.case else None,
        "law": {
            "connected": law.connected,
            "s2": {
                axis: {name: np.round(getattr(band, name), 5).tolist() for name in ("centre", "low", "high")}
                for axis, band in law.bands.items()
            },
            "flow_chance": flow_chance(law, of_floor, settings.seed),
        },
        "generators": rows,
    }
    return report, shown, {name: each for name, each in responses.items() if each is not None}


def read_generators(folders: Sequence[Path], published: Path | None) -> dict[str, tuple[nn.Module, Blueprint]]:
    """By the name of its folder, each generator and what it is; the published one first.

    Raises:
        InputError: naming the folder that holds no generator of channels, or whose name is there twice.
        WeightsMismatch: naming the weights that do not fit.
    """
    found = {} if published is None else {PUBLISHED: read_published(published)}
    for folder in folders:
        if folder.name in (*found, OBJECT_MODELS):
            raise InputError(f"{folder}: another row has the name '{folder.name}'; rename the folder")
        found[folder.name] = read_generator(folder)
    return found


def with_softened(generators: dict[str, tuple[nn.Module, Blueprint]]) -> dict[str, tuple[nn.Module, Blueprint]]:
    """The same, and after each whose edges a history match softens what that one sees."""
    found = {}
    for name, (module, blueprint) in generators.items():
        found[name] = (module, blueprint)
        edges = find_network(blueprint.network).match_edges
        if edges is not None and isinstance(module, Softenable):
            found[f"{name} at {edges:g}{PER_CELL}"] = (module.softened(edges), blueprint)
    return found


def read_generator(folder: Path) -> tuple[nn.Module, Blueprint]:
    """The generator of a folder with a blueprint or a card beside its weights."""
    if (folder / GENERATOR).is_file():
        blueprint = Blueprint.load(folder)
    elif (folder / CARD).is_file():
        card = ModelCard.load(folder)
        blueprint = Blueprint(
            generator=card.generator,
            family=card.family,
            network=card.network,
            loss=card.loss,
            latent=card.latent_shape,
            image=card.image_shape,
        )
    else:
        raise InputError(f"{folder}: neither {GENERATOR} nor {CARD}; give a folder that 'train' or 'export' wrote")
    if blueprint.family != FAMILY:
        raise InputError(f"{folder}: a generator of {blueprint.family}; give one of {FAMILY}")
    module = load_generator(folder / WEIGHTS, network=blueprint.network, latent=blueprint.latent, image=blueprint.image)
    return module, blueprint


def read_published(folder: Path) -> tuple[nn.Module, Blueprint]:
    """DeepFlow's published generator, whose state dict is the one .pth file of the folder."""
    files = sorted(folder.glob("*.pth"))
    if len(files) != 1:
        raise InputError(f"{folder}: {len(files)} files *.pth; give the folder with DeepFlow's one")
    module = load_foreign(files[0], network=NETWORK, latent=LATENT, image=IMAGE)
    blueprint = Blueprint(
        generator=PUBLISHED, family=FAMILY, network=NETWORK, loss="imported", latent=LATENT, image=IMAGE
    )
    return module, blueprint


def draw(module: nn.Module, blueprint: Blueprint, settings: Settings) -> Sections:
    """Sections of a generator in [0, 1], those of the same seed that `score` judges."""
    network = find_network(blueprint.network)
    latents = draw_latents(settings.seed, settings.n_samples, blueprint.latent, lattice=network.lattice)
    return np.asarray(np.clip(to_intensity(sample(module, latents), network.value_range), 0.0, 1.0))


def _kept(report: Path) -> dict[str, Any]:
    """Of a report that is there, what measuring the samples anew leaves as it is."""
    before = read_json(report) if report.is_file() else {}
    return {"inversion": before["inversion"]} if "inversion" in before else {}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.channels", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="such as artifacts/train/NAME")
    parser.add_argument("--published", type=Path, metavar="FOLDER", help="with DeepFlow's published .pth file")
    parser.add_argument("--samples", type=int, default=1000, help="of each generator (1000)")
    parser.add_argument("--runs", type=int, default=100, help="forward runs of each; 0 leaves the flow out (100)")
    parser.add_argument("--matches", nargs="+", type=Path, metavar="RUN", default=[], help="such as matches/own-rml")
    parser.add_argument("--members", type=int, default=10, help="of each run, its first ones (10)")
    parser.add_argument("--to", type=Path, default=Path("docs"), metavar="FOLDER", help="of page and pictures (docs)")
    parser.add_argument("--responses", type=Path, metavar="FILE", help="where the responses go as well, .npz")
    parser.add_argument("--page", action="store_true", help="write the page from the JSON that is there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with report_user_errors():
        main()
