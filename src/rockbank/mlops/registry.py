"""The one door to the MLflow model registry: push, resolve, pull; `promotion` moves its champions."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import LoggedModelOutput
from mlflow.entities.model_registry import ModelVersion
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from rockbank.core.errors import InputError, UserError
from rockbank.core.files import read_json, replacing_folder
from rockbank.generator.card import CARD, HASHED, VERDICT, CardMismatch, ModelCard, check_size, headline
from rockbank.mlops import store
from rockbank.mlops.champion_log import CHAMPION
from rockbank.mlops.tracking import FINAL

CANDIDATE = "candidate"
FILES = (CARD, VERDICT, *HASHED)
# A generator is a few MB; what is a thousand times larger is not one of ours.
MAX_FOLDER_BYTES = 2 * 1024**3
# A handful of small files needs no bar; MLflow reads this when it copies them.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# An alias that is not there is to MLflow a parameter of no value.
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_ABOUT = (
    "Generators of {family} that passed the gate, a version each. `rockbank show {name}@champion` shows the "
    "champion, `rockbank sample {name}@champion` samples it, `rockbank promote {name}` makes the candidate champion."
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class RegistryError(UserError, RuntimeError):
    """The registry does not have what was requested."""


class NotRegistered(RegistryError):
    """The registry answers, and has no such model, alias or version."""


class NoStore(NotRegistered):
    """The project's own store is not there: nothing was registered yet, or its file is gone."""


class PromotionRefused(UserError, RuntimeError):
    """A version may not become champion."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A registered version, as `rockbank models` lists it."""

    name: str
    version: str
    aliases: tuple[str, ...]
    run_id: str | None
    created: float
    tags: dict[str, str]


def check_name(name: str) -> None:
    """InputError where no registered model can be called `name`."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"'{name}': no name of a registered model; use letters, digits, '.', '-' and '_', 64 at most, a letter or "
            "a digit first"
        )


def push(name: str, folder: Path, run_id: str | None = None) -> Entry:
    """Register the gated generator in `folder` as a version of `name`; the same files are not registered twice.

    Args:
        name: the registered model.
        folder: the generator, its card and its verdict.
        run_id: the MLflow run that trained it, which the version links to.

    Raises:
        InputError: for a name that no reference could have.
        CardMismatch: where a file is not the one its card describes.
        PromotionRefused: where the folder has no passed verdict on this very card.
    """
    check_name(name)
    card, fingerprint = _checked(folder)
    for entry in versions(name):
        if entry.tags.get("card_sha256") == fingerprint:
            return entry
    client = store.client()
    experiment = client.get_run(run_id).info.experiment_id if run_id else store.experiment(name).experiment_id
    model = client.create_logged_model(
        experiment, name=card.generator, source_run_id=run_id, model_type=card.network, params={"loss": card.loss}
    )
    with tempfile.TemporaryDirectory() as temporary:
        for file in FILES:
            shutil.copyfile(folder / file, Path(temporary) / file)
        client.log_model_artifacts(model.model_id, temporary)
    client.finalize_logged_model(model.model_id, "READY")
    scores = headline(card.scores)
    if run_id:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        for metric, value in scores.items():
            # The run has the same value under the same name: another name would be one more chart of it.
            client.log_metric(run_id, f"{FINAL}{metric}", value, model_id=model.model_id)
    if not is_known(name):
        with suppress(mlflow.MlflowException):  # Another has just made it; any other failure comes next again.
            client.create_registered_model(name, description=_ABOUT.format(family=card.family, name=name))
    tags = {
        "generator": card.generator,
        **{metric: f"{value:.6g}" for metric, value in scores.items()},
        "gate": "passed",
        "extractor": str(card.scores["extractor"]),
        "data_md5": str(card.data_md5),
        **({"scans": card.scan_names} if card.scans else {}),
        "card_sha256": fingerprint,
    }
    about = ", ".join(
        [f"KID {scores['kid']:.3g}", f"S2 distance {scores['s2_distance']:.3g}", f"FID {scores['fid']:.3g}"]
    )
    version = client.create_model_version(
        name,
        f"models:/{model.model_id}",
        run_id,
        tags=tags,
        description=f"{card.generator}: {about}",
        model_id=model.model_id,  # a tracking server refuses a source that does not name its model
    )
    return _first(_entry(version))


def _first(made: Entry) -> Entry:
    """The version of these files: of two that were registered at the same moment the first, and only that one stays."""
    same = [each for each in versions(made.name) if each.tags.get("card_sha256") == made.tags["card_sha256"]]
    first = min([made, *same], key=lambda each: int(each.version))
    if first.version != made.version:
        with suppress(mlflow.MlflowException):  # The other may take it away as well.
            store.client().delete_model_version(made.name, made.version)
    return first


def check_folder(folder: Path) -> ModelCard:
    """The card of a generator's folder whose files and verdict hold.

    Raises:
        CardMismatch: where a file is missing, or is not the one its card describes.
        PromotionRefused: where the verdict is not a pass, or speaks of another card.
    """
    return _checked(folder)[0]


def _checked(folder: Path) -> tuple[ModelCard, str]:
    """The card and its fingerprint, of the same bytes."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise CardMismatch(f"{folder}: {missing} not there; export, gate and register the generator again")
    for name in FILES:
        check_size(folder / name)
    text = (folder / CARD).read_bytes()
    card, fingerprint = ModelCard.parse(text, folder / CARD), hashlib.sha256(text).hexdigest()
    card.verify(folder)
    try:
        card.gate_scores()
    except (KeyError, TypeError, ValueError) as error:
        raise CardMismatch(f"{folder / CARD}: its scores cannot be weighed, {error!r} is wrong or missing; score "
                           "and export the generator again") from error  # fmt: skip
    verdict = read_json(folder / VERDICT)
    if not isinstance(verdict, dict):
        raise CardMismatch(f"{folder / VERDICT}: not a verdict but a {type(verdict).__name__}; run the gate again")
    if verdict.get("card_sha256") != fingerprint:
        raise PromotionRefused(f"{folder / VERDICT}: speaks of another card; run the gate on this one")
    if verdict.get("passed") is not True:
        raise PromotionRefused(f"'{card.generator}' did not pass the gate: {'; '.join(verdict.get('reasons', []))}")
    return card, fingerprint


def resolve(reference: str) -> Entry:
    """The version that `reference` names: NAME@ALIAS, NAME/VERSION, or NAME for its champion.

    Raises:
        InputError: where it is none of these.
        NoStore: where there is no registry.
        NotRegistered: where the registry has no such model, alias or version.
        StoreError: where it does not answer.
    """
    name, alias, version = _parse(reference)
    if store.is_absent():
        raise NoStore(
            f"{reference}: nothing is registered in this project yet; 'rockbank register' registers what was pulled, "
            "'dvc repro' makes it"
        )
    client = store.client()
    try:
        if version is not None:
            found = client.get_model_version(name, version)
        else:
            found = client.get_model_version_by_alias(name, alias or CHAMPION)
    except mlflow.MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        known = [f"{each.name}/{each.version}" for each in versions(name)]
        aliases = [f"{name}@{alias}" for each in versions(name) for alias in each.aliases]
        hint = (
            f"versions of '{name}' are {known}, aliases {aliases}"
            if known
            else f"'{name}' has no versions; known are {names()}"
        )
        raise NotRegistered(f"{reference}: not in the registry; {hint}") from error
    return _entry(found)


def pull(reference: str, folder: Path) -> tuple[Entry, ModelCard]:
    """Download a version's files into `folder`, verified against its card and its verdict.

    Raises:
        NotRegistered: where the registry has no such version.
        RegistryError: where the version's files cannot be had.
        StoreError: where the store does not answer, or was moved without its files.
        CardMismatch, PromotionRefused: where they do not hold what they say; `folder` is then not written.
    """
    entry = resolve(reference)
    uri = f"models:/{entry.name}/{entry.version}"
    with replacing_folder(folder) as beside, tempfile.TemporaryDirectory() as temporary:
        written = store.client().get_model_version_download_uri(entry.name, entry.version)
        source = store.find_files(written) or _download(uri, temporary)
        size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
        if size > MAX_FOLDER_BYTES:
            raise RegistryError(f"{uri}: {size} bytes, the limit is {MAX_FOLDER_BYTES}; not a generator of ours")
        for name in FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, beside / name)
        card = check_pulled(entry, beside)
    return entry, card


def _download(uri: str, folder: str) -> Path:
    """The files of ours among what a registry lists, by their names alone: it could list any path."""
    try:
        with store.answering(writes=False, what=f"the files of {uri}"):
            artifacts = get_artifact_repository(uri)
            listed = [each for each in artifacts.list_artifacts("") if each.path in FILES and not each.is_dir]
            size = sum(each.file_size or 0 for each in listed)
            if size > MAX_FOLDER_BYTES:
                raise RegistryError(f"{uri}: {size} bytes, the limit is {MAX_FOLDER_BYTES}; not a generator of ours")
            for each in listed:
                artifacts.download_artifacts(each.path, folder)
    except (mlflow.MlflowException, OSError) as error:
        raise RegistryError(f"{uri}: its files could not be fetched: {error}; is the artifact store up?") from error
    return Path(folder)


def check_pulled(entry: Entry, folder: Path) -> ModelCard:
    """The card of a version's folder, whose files, verdict and card are the registered ones.

    Raises:
        CardMismatch, PromotionRefused: where they are not.
    """
    card, fingerprint = _checked(folder)
    if entry.tags.get("card_sha256") != fingerprint:
        raise CardMismatch(
            f"{entry.name}/{entry.version}: {CARD} is not the one that was registered; register the generator again"
        )
    return card


def set_alias(name: str, alias: str, version: str) -> None:
    """Point `name@alias` at `version`."""
    store.client().set_registered_model_alias(name, alias, version)


def champion(name: str) -> Entry | None:
    """Today's champion, or None where the registry has none.

    Raises:
        StoreError: where it does not answer.
    """
    try:
        return resolve(f"{name}@{CHAMPION}")
    except NotRegistered:
        return None


def names() -> list[str]:
    """Every registered model."""
    if store.is_absent():
        return []
    return sorted(model.name for model in store.client().search_registered_models(max_results=1000))


def versions(name: str) -> list[Entry]:
    """The versions of `name`, newest first; empty where it is unknown."""
    if not is_known(name):
        return []
    client = store.client()
    aliases: dict[str, list[str]] = {}
    for alias, version in client.get_registered_model(name).aliases.items():
        aliases.setdefault(str(version), []).append(alias)
    found = client.search_model_versions(f"name = '{name}'", max_results=1000)
    entries = [_entry(each, aliases.get(str(each.version), [])) for each in found]
    return sorted(entries, key=lambda entry: int(entry.version), reverse=True)


def is_known(name: str) -> bool:
    """Whether there is a registered model of that name.

    Raises:
        StoreError: where the registry does not answer.
    """
    if store.is_absent():
        return False
    try:
        store.client().get_registered_model(name)
    except mlflow.MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def _entry(version: ModelVersion, aliases: list[str] | None = None) -> Entry:
    return Entry(
        name=version.name,
        version=str(version.version),
        aliases=tuple(sorted(version.aliases if aliases is None else aliases)),
        run_id=version.run_id or None,
        created=version.creation_timestamp / 1000.0,
        tags=dict(version.tags),
    )


def _parse(reference: str) -> tuple[str, str | None, str | None]:
    name, alias, version = reference, None, None
    if "@" in reference:
        name, alias = reference.split("@", 1)
    elif "/" in reference:
        name, version = reference.split("/", 1)
    parts = [part for part in (name, alias) if part is not None]
    if not all(_NAME.fullmatch(part) for part in parts) or (version is not None and not version.isdigit()):
        raise InputError(f"'{reference}': not a generator; use NAME@ALIAS, such as shale@champion, or NAME/VERSION")
    return name, alias, version
