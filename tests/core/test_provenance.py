"""A result names the commit and the data that it comes from."""

import subprocess
from pathlib import Path

from rockbank.core.provenance import code_sha256, data_md5, git_commit


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_commit_is_named_and_a_changed_file_is_reported(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    git(tmp_path, "init", "--quiet")
    (tmp_path / "a").write_text("1")
    (tmp_path / "dvc.lock").touch()
    git(tmp_path, "add", "a", "dvc.lock")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(tmp_path) == commit
    (tmp_path / "dvc.lock").write_text("written by the pipeline that asks")
    assert git_commit(tmp_path) == commit
    (tmp_path / "a").write_text("2")
    assert git_commit(tmp_path) == f"{commit}-dirty"


def test_the_md5_comes_from_the_pointer_or_from_the_lock(tmp_path: Path) -> None:
    (tmp_path / "data.dvc").write_text("outs:\n- md5: aa.dir\n  path: data\n")
    (tmp_path / "dvc.lock").write_text(
        "stages:\n  prepare:\n    outs:\n    - path: artifacts/data/shale\n      md5: bb.dir\n"
    )
    assert data_md5("data", tmp_path) == "aa.dir"
    assert data_md5("artifacts/data/shale", tmp_path) == "bb.dir"
    assert data_md5("artifacts/data/coal", tmp_path) is None


def test_the_digest_of_code_changes_with_each_byte_and_name_of_the_modules_and_with_nothing_else(
    tmp_path: Path,
) -> None:
    def digest(one: str = "1", two: str = "2", name: str = "two.py", beside: str = "") -> str:
        folder = tmp_path / f"package{len(list(tmp_path.iterdir()))}"
        (folder / "part").mkdir(parents=True)
        (folder / "one.py").write_text(one)
        (folder / "part" / name).write_text(two)
        (folder / "part" / "two.pyc").write_text(beside)
        (folder / "other.py").write_text(beside)
        return code_sha256(("one.py", "part"), folder)

    assert digest() == digest(beside="3")
    assert len({digest(), digest(one="3"), digest(two="3"), digest(name="three.py"), digest(one="", two="12")}) == 5
