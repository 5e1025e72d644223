"""A file is whole or not there."""

import hashlib
from pathlib import Path

import pytest

from rockbank.core.files import read_json, replacing, replacing_folder, sha256, whole_files, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_folder_leaves_the_old_one_and_nothing_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(RuntimeError), replacing_folder(folder) as beside:
        (beside / "half").touch()
        raise RuntimeError
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    assert [each.name for each in folder.iterdir()] == ["old"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "old").touch()
    with replacing_folder(folder) as beside:
        (beside / "new").touch()
    assert [each.name for each in folder.iterdir()] == ["new"]


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"kid": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_absent_or_not_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.json: no such file"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.json: not JSON"):
        read_json(tmp_path / "a.json")


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"rock")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"rock").hexdigest()


def test_a_failed_write_leaves_no_folders_that_were_made_for_it(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for write in (replacing, replacing_folder):
        with pytest.raises(RuntimeError), write(tmp_path / "there" / "one" / "two" / "three"):
            raise RuntimeError
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_what_a_killed_process_left_half_written_is_no_file(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "c.txt"):
        (tmp_path / name).touch()
    left = replacing(tmp_path / "a.png")
    left.__enter__().touch()
    assert whole_files(tmp_path, "*.png") == [tmp_path / "a.png", tmp_path / "b.png"]
    assert whole_files(tmp_path, "*.*") == [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.txt"]
