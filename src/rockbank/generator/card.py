"""ModelCard: what travels with a generator, so that whoever pulls it can trust it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from rockbank.core.config import convert
from rockbank.core.errors import InputError, UserError
from rockbank.core.files import parse_json, read_bytes, sha256, write_json
from rockbank.generator.latents import Lattice
from rockbank.rock.segmentation import Segmentation

CARD = "card.json"
ONNX = "generator.onnx"
WEIGHTS = "weights.safetensors"
REFERENCE = "reference.json"
SAMPLES = "samples.png"
VERDICT = "verdict.json"
# Of the graph in generator.onnx: its one input, and its one output.
INPUT, OUTPUT = "latent", "image"
HASHED = (ONNX, WEIGHTS, REFERENCE, SAMPLES)
# Of card.json: 1 had no number and no lattice. A reader keeps what it does not know of an older one.
FORMAT = 2
# Bytes of each file of a generator, a thousand times what ours have: more would fill memory before it is looked at.
MOST_BYTES = {CARD: 2**20, VERDICT: 2**20, REFERENCE: 2**26, SAMPLES: 2**28, ONNX: 2**30, WEIGHTS: 2**30}
# Values of one latent and of one image: what is larger fills the memory of whoever draws the first sample.
_MOST_LATENT, _MOST_IMAGE = 2**20, 2**26
# What tables, tags and the gate speak of, on the larger sample count.
HEADLINE = ("fid", "kid", "s2_distance", "diversity", "memorisation")
_N_NAMED = 5


class CardMismatch(UserError, RuntimeError):
    """A file of a generator's folder is not the one that its card describes."""


@dataclass(frozen=True, kw_only=True)
class GateScores:
    """The scores that the gate weighs, and what they were measured with.

    Attributes:
        metrics: those of `HEADLINE`.
        measured_with: extractor, sample count and data, and the scans where they are known.
    """

    metrics: Mapping[str, float]
    measured_with: Mapping[str, Any]

    def differing(self, other: Self) -> str:
        """In what they were measured otherwise, in words: such scores are never compared. Empty where in nothing.

        What one of them does not know does not count: cards once named no scans.
        """
        ours, theirs = self.measured_with, other.measured_with
        keys = sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key])
        return "; ".join(f"{key} is {ours[key]} here and {theirs[key]} there" for key in keys)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A generator's description and the fingerprints of its files.

    Attributes:
        generator: its name in params.yaml, such as "shale-wgan-gp".
        family: the kind of rock, and the data that it was trained and scored on.
        network: the entry of the table of networks that rebuilds it from its weights.
        loss: what it was trained with.
        latent_shape: of one z ~ N(0, 1).
        image_shape: channels, height, width of one sample.
        value_range: [low, high] of each channel as the network gives it; (x - low) / (high - low) is the intensity.
        voxel_size: metres.
        segmentation: how the phase of interest is segmented from the rest.
        data_md5: DVC's md5 of the raw data, or of the crops where there is no raw data.
        scans: SHA-256 of each scan that the crops were cut from, by its file's name; none where the rock is synthetic.
        git_commit: of the code that trained it; None where that is not known, as of imported weights.
        scores: as `score` wrote them; the extractor and the sample counts stand inside.
        parity: largest |ONNX - torch| over samples, in units of the network's range.
        golden: a latent seed, and where to find which values in its samples.
        files: SHA-256 of each file beside the card.
        lattice: of the latents where the generator is endless, so that its images may have any size; None where all
            are of the image shape.
        unknown: what card.json says beyond this, kept as it is.
    """

    generator: str
    family: str
    network: str
    loss: str
    latent_shape: tuple[int, ...]
    image_shape: tuple[int, int, int]
    value_range: tuple[tuple[float, float], ...]
    voxel_size: float
    segmentation: Segmentation
    data_md5: str | None
    git_commit: str | None
    scores: dict[str, Any]
    parity: float
    golden: dict[str, Any]
    files: dict[str, str]
    lattice: Lattice | None = None
    scans: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, shape, most in (
            ("latent", self.latent_shape, _MOST_LATENT),
            ("image", self.image_shape, _MOST_IMAGE),
        ):
            if not shape or min(shape) < 1 or math.prod(shape) > most:
                raise InputError(
                    f"{what}_shape: got {str(list(shape))[:80]}; sides of at least 1, {most} values at most"
                )
        lattice = self.lattice
        if lattice is not None and (1, *lattice.image(*self.latent_shape[1:])) != self.image_shape:
            raise InputError(
                f"the latent {list(self.latent_shape)} on {lattice} does not give the image {list(self.image_shape)}; "
                "an endless generator has one channel, and sides of cell x (cells - 2 margin)"
            )

    @property
    def scan_names(self) -> str:
        """Of the scans, in one line; empty where there is none."""
        first, rest = list(self.scans)[:_N_NAMED], len(self.scans) - _N_NAMED
        return ", ".join(first) + (f" and {rest} more" if rest > 0 else "")

    def gate_scores(self) -> GateScores:
        """The card's scores as the gate weighs them."""
        measured_with = {
            "extractor": self.scores["extractor"],
            "samples": self.scores["large"]["n"],
            "data": self.data_md5,
        }
        # DVC's md5 is of what was last added to it, which need not be what the crops were cut from.
        if self.scans:
            digest = hashlib.sha256(json.dumps(self.scans, sort_keys=True).encode()).hexdigest()
            measured_with["scans"] = f"{self.scan_names} ({digest[:12]})"
        return GateScores(metrics=headline(self.scores), measured_with=measured_with)

    def save(self, folder: Path) -> None:
        """Write card.json into `folder`."""
        known = asdict(self)
        write_json(folder / CARD, {"format": FORMAT, **known.pop("unknown"), **known})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The card in `folder`, of this format or of an older one.

        Raises:
            InputError: naming the file, and every key that is missing or wrong or the format that is too new.
        """
        path = folder / CARD
        check_size(path)
        return cls.parse(read_bytes(path), path)

    @classmethod
    def parse(cls, text: bytes, path: Path) -> Self:
        """The card in `text`, which was read from `path`.

        Raises:
            InputError: as by `load`.
        """
        raw = parse_json(text, path)
        if not isinstance(raw, dict):
            raise InputError(f"{path}: not a model card but a {type(raw).__name__}; export again")
        raw.pop("run_id", None)  # cards once named their run; the registered version does now
        format_ = raw.pop("format", 1)
        if not isinstance(format_, int) or not 1 <= format_ <= FORMAT:
            raise InputError(
                f"{path}: a card of the newer format {format_!r}; formats up to {FORMAT} are known here: "
                "use a newer rockbank, or export again with this one"
            )
        known = {each.name: raw.pop(each.name) for each in fields(cls) if each.name in raw}
        try:
            card: Self = convert(known, cls, "")
        except InputError as error:
            raise InputError("\n".join(f"{path}: no model card: {line}" for line in str(error).splitlines())
                             + "; export again") from error  # fmt: skip
        return replace(card, unknown=raw)

    def verify(self, folder: Path, names: Sequence[str] = HASHED) -> None:
        """Compare every file beside the card with its fingerprint, or those of these names.

        Raises:
            CardMismatch: naming the first file that is missing or differs.
        """
        for name in names:
            self._check(folder / name, sha256(folder / name) if (folder / name).is_file() else None)

    def read(self, folder: Path, name: str) -> bytes:
        """The bytes of a file beside the card, which are those of its fingerprint: to be used in place of the file.

        Raises:
            CardMismatch: where it is missing or differs.
        """
        check_size(folder / name)
        content = (folder / name).read_bytes() if (folder / name).is_file() else None
        self._check(folder / name, None if content is None else hashlib.sha256(content).hexdigest())
        return content or b""

    def _check(self, path: Path, got: str | None) -> None:
        wanted = self.files.get(path.name)
        if wanted is None or got is None:
            raise CardMismatch(f"{path}: not in the card or in the folder; pull or export it again")
        if got != wanted:
            raise CardMismatch(
                f"{path}: sha256 is {got[:12]}.., the card says {wanted[:12]}..; "
                "the file was changed after its export: do not use it, pull or export it again"
            )


def check_size(path: Path) -> None:
    """Refuse a file of a generator's folder that would fill memory.

    Raises:
        CardMismatch: with its size and the limit.
    """
    most = MOST_BYTES[path.name]
    if path.is_file() and (size := path.stat().st_size) > most:
        raise CardMismatch(f"{path}: {size} bytes, the limit is {most}; not a generator of ours: do not use it")


def headline(scores: Mapping[str, Any]) -> dict[str, float]:
    """The scores that tables, tags and the gate speak of."""
    flat = {"fid": scores["large"]["fid"], "kid": scores["large"]["kid"], **scores}
    return {metric: float(flat[metric]) for metric in HEADLINE}


def fingerprints(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that a card answers for."""
    return {name: sha256(folder / name) for name in HASHED}
