"""Import a foreign generator's weights: the same score, export, gate and registration as of our own."""

from __future__ import annotations

from pathlib import Path

from rockbank.core.files import sha256
from rockbank.core.paths import ProjectPaths, origin
from rockbank.gan.weights import load_foreign, save_weights
from rockbank.generator.card import WEIGHTS
from rockbank.mlops import registry, tracking
from rockbank.params import Params, check_generator_name
from rockbank.rock.crops import load_crops
from rockbank.stages.blueprint import Blueprint
from rockbank.stages.export import export
from rockbank.stages.judge import gate
from rockbank.stages.register import register
from rockbank.stages.score import score

# Apart from the pipeline's own folders, which belong to DVC; the crops are the pipeline's.
IMPORTED = ProjectPaths(artifacts=Path("artifacts/imported"), reports=Path("artifacts/imported/reports"))


def import_weights(
    path: Path,
    *,
    network: str,
    latent: tuple[int, ...],
    family: str,
    name: str,
    register_as: str | None,
    source: str,
    params: Params,
    paths: ProjectPaths = IMPORTED,
) -> None:
    """Score, export, gate and register the generator whose state dict lies in `path`.

    Args:
        path: a state dict, read with weights_only.
        network: the entry of the table of networks that it fits.
        latent: shape of one latent.
        family: the rock on whose held-out crops it is scored, and whose gate it has to pass.
        name: the generator's.
        register_as: the registered model; None for the family's.
        source: where the weights come from.
        params: of the pipeline.
        paths: where the steps write, and where the family's crops lie.

    Raises:
        InputError: for a name that cannot be registered, or where the params have no gate of the family; before
            anything is read.
        WeightsMismatch: where the file is not a state dict of the network.
        NonePassed: with the gate's reasons.
    """
    # All of it before the work: a name is used for the first time after the scoring.
    check_generator_name(name)
    registry.check_name(family if register_as is None else register_as)
    params.gate_of(family)
    crop_set = load_crops(paths.crops(family))
    _, n_channels, height, width = crop_set.crops.shape
    image = (n_channels, height, width)
    module = load_foreign(path, network=network, latent=latent, image=image)
    about = {"network": network, "latent": latent, "source": source, "file": path.name, "sha256": sha256(path)}
    folder = paths.train(name)
    save_weights(module.state_dict(), folder / WEIGHTS)
    Blueprint(generator=name, family=family, network=network, loss="imported", latent=latent, image=image).save(folder)
    with tracking.start(family, name, about) as run:
        run.tag({"family": family, "generator": name, "imported": "true", "data_md5": origin(family, paths)})
        run.describe(f"**{name}**: imported from {path.name}; source: {source}")
        run.has_weights(sha256(folder / WEIGHTS))
    score(name, params.score, paths)
    export(name, paths)
    gate(name, params.gate, paths, against=register_as or family)
    register(family, [name], paths, name=register_as)
