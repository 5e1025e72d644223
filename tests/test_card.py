"""A card says what a generator is, and notices when one of its files is another."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rockbank.card import CARD, HASHED, CardMismatch, ModelCard
from rockbank.files import read_json, write_json


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


def test_an_unknown_or_missing_key_is_named(generator_folder: Callable[..., Path]) -> None:
    folder = generator_folder()
    raw = read_json(folder / CARD)
    del raw["voxel_size"]
    write_json(folder / CARD, {**raw, "pixel_size": 1.0})
    with pytest.raises(ValueError, match=r"\['pixel_size', 'voxel_size'\]"):
        ModelCard.load(folder)


def test_scores_with_another_extractor_count_or_data_are_told_apart(generator_folder: Callable[..., Path]) -> None:
    one, other = ModelCard.load(generator_folder()), ModelCard.load(generator_folder(extractor="inception"))
    assert one.judged().measured_with != other.judged().measured_with
