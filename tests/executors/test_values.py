"""What executors keep in files comes back as it was, and a file of theirs runs no code."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rockbank.executors.values import read_value, write_value
from rockbank.flow.equations.trajectory import NewtonError
from rockbank.matching.methods.interface import Progress
from rockbank.matching.problem.cost import Cost

PROGRESS = Progress(member=3, i_iterate=2, cost=Cost(forward=5), total=0.25, status="running")


def there_and_back(folder: Path, value: Any) -> Any:
    write_value(folder / "value", value)
    return read_value(folder / "value")


@pytest.mark.parametrize(
    "value", [None, True, 7, 0.1, "text", (1, "a", None), [1.5, (2,)], {"a": {"b": ()}}, {}, PROGRESS], ids=repr
)
def test_data_come_back(value: Any, tmp_path: Path) -> None:
    got = there_and_back(tmp_path, value)
    assert got == value
    assert type(got) is type(value)


def test_a_number_that_is_none_comes_back(tmp_path: Path) -> None:
    assert np.isnan(there_and_back(tmp_path, replace(PROGRESS, total=float("nan"))).total)


@pytest.mark.parametrize(
    "array",
    [np.array(1.5), np.zeros((0, 3)), np.arange(6.0).reshape(2, 3).T, np.array([True]), np.array(["x", "yz"])],
    ids=repr,
)
def test_arrays_come_back_to_the_bit(array: np.ndarray, tmp_path: Path) -> None:
    (got,) = there_and_back(tmp_path, (array,))
    assert (got.dtype, got.shape, got.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_a_numpy_number_stays_one(tmp_path: Path) -> None:
    got = there_and_back(tmp_path, np.float32(0.1))
    assert type(got) is np.float32
    assert got == np.float32(0.1)


@pytest.mark.parametrize("error", [NewtonError("no way"), ValueError("not a number")])
def test_errors_of_ours_and_of_python_come_back(error: Exception, tmp_path: Path) -> None:
    got = there_and_back(tmp_path, error)
    assert type(got) is type(error)
    assert str(got) == str(error)


def test_an_error_of_another_package_is_named(tmp_path: Path) -> None:
    got = there_and_back(tmp_path, np.linalg.LinAlgError("singular"))
    assert type(got) is RuntimeError
    assert "LinAlgError: singular" in str(got)


def test_what_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="object: no value that a file can hold"):
        write_value(tmp_path / "value", object())


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(pickle.dumps(PROGRESS))
    with pytest.raises(ValueError, match="pickle"):
        read_value(tmp_path / "value")


@pytest.mark.parametrize("name", ["os:system", "rockbank.core.files:sha256", "builtins:print"])
def test_no_other_name_is_called(name: str, tmp_path: Path) -> None:
    tree = {"object": name, "names": ["command"], "values": ["true"]}
    np.savez(tmp_path / "value.npz", tree=np.array(json.dumps(tree)))
    with pytest.raises(ValueError, match="no dataclass of ours"):
        read_value(tmp_path / "value.npz")
