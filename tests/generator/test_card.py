"""A card says what a generator is, and notices when one of its files is another."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rockbank.core.errors import InputError
from rockbank.core.files import read_json, write_json
from rockbank.generator.card import CARD, FORMAT, HASHED, CardMismatch, ModelCard
from rockbank.generator.latents import Lattice


def test_a_card_is_read_as_it_was_written(generator_folder: Callable[..., Path], tmp_path: Path) -> None:
    card = ModelCard.load(generator_folder())
    card.save(tmp_path)
    assert ModelCard.load(tmp_path) == card


@pytest.mark.parametrize("name", HASHED)
def test_a_changed_byte_is_noticed(generator_folder: Callable[..., Path], name: str) -> None:
    folder = generator_folder()
    raw = bytearray((folder / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / name).write_bytes(raw)
    with pytest.raises(CardMismatch, match=f"{name}: sha256 is"):
        ModelCard.load(folder).verify(folder)


@pytest.mark.parametrize("name", HASHED)
def test_a_missing_file_is_noticed(generator_folder: Callable[..., Path], name: str) -> None:
    folder = generator_folder()
    (folder / name).unlink()
    with pytest.raises(CardMismatch, match=f"{name}: not in the card or in the folder"):
        ModelCard.load(folder).verify(folder)


def test_what_is_missing_or_wrong_is_named(generator_folder: Callable[..., Path]) -> None:
    folder = generator_folder()
    raw = read_json(folder / CARD)
    del raw["voxel_size"]
    write_json(folder / CARD, {**raw, "pixel_size": 1.0, "image_shape": "1 x 16 x 16"})
    with pytest.raises(InputError) as raised:
        ModelCard.load(folder)
    path = folder / CARD
    assert str(raised.value) == (
        f"{path}: no model card: missing key 'voxel_size'\n"
        f"{path}: no model card: image_shape: expected a list, got '1 x 16 x 16'; export again"
    )


def test_a_card_without_a_format_is_read_as_the_first(generator_folder: Callable[..., Path]) -> None:
    folder = generator_folder()
    raw = read_json(folder / CARD)
    assert raw.pop("format") == FORMAT
    del raw["lattice"]
    write_json(folder / CARD, raw)
    card = ModelCard.load(folder)
    assert card.lattice is None
    assert card.unknown == {}
    assert card.latent_shape == (4,)


def test_what_a_card_says_beyond_is_kept(generator_folder: Callable[..., Path]) -> None:
    folder = generator_folder()
    write_json(folder / CARD, {**read_json(folder / CARD), "porosity": [0.05, 0.15]})
    card = ModelCard.load(folder)
    card.save(folder)
    assert read_json(folder / CARD)["porosity"] == [0.05, 0.15]
    assert ModelCard.load(folder) == card


@pytest.mark.parametrize("newer", [FORMAT + 1, "2"])
def test_a_newer_format_is_refused_with_that_word(generator_folder: Callable[..., Path], newer: object) -> None:
    folder = generator_folder()
    write_json(folder / CARD, {**read_json(folder / CARD), "format": newer})
    with pytest.raises(ValueError, match=r"card\.json: a card of the newer format .*; formats up to 2 are known here"):
        ModelCard.load(folder)


def test_a_lattice_that_does_not_give_the_card_s_image_is_refused(generator_folder: Callable[..., Path]) -> None:
    card = ModelCard.load(generator_folder())
    endless = replace(card, latent_shape=(9, 12, 11), image_shape=(1, 64, 48), lattice=Lattice(cell=16, margin=4))
    assert endless.lattice == Lattice(cell=16, margin=4)
    for image in ((1, 64, 64), (3, 64, 48)):
        with pytest.raises(ValueError, match="does not give the image"):
            replace(endless, image_shape=image)


def test_scores_of_other_scans_are_not_compared_whatever_dvc_knows_of_the_data(
    generator_folder: Callable[..., Path],
) -> None:
    card = ModelCard.load(generator_folder())
    more = replace(card, scans={**card.scans, "new.tif": "1" * 64})
    differing = more.gate_scores().differing(card.gate_scores())
    assert re.fullmatch(r"scans is a\.tif, new\.tif \(\w{12}\) here and a\.tif \(\w{12}\) there", differing)
    other = replace(card, scans={"a.tif": "1" * 64})
    assert "scans is a.tif (" in other.gate_scores().differing(card.gate_scores())
    assert card.gate_scores().differing(replace(card, scans=dict(card.scans)).gate_scores()) == ""
    # Of an older version, whose card names no scans.
    older = replace(card, scans={})
    assert older.gate_scores().differing(card.gate_scores()) == card.gate_scores().differing(older.gate_scores()) == ""


def test_scores_with_another_extractor_count_or_data_are_distinguished(generator_folder: Callable[..., Path]) -> None:
    one, other = ModelCard.load(generator_folder()), ModelCard.load(generator_folder(extractor="inception"))
    differing = one.gate_scores().differing(other.gate_scores())
    assert differing == "extractor is tiny here and inception there"
