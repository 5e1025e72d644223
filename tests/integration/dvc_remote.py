"""Run by the Python of the back ends in an empty folder: a file goes to DVC's remote on S3, is lost, and comes back."""

import shutil
import subprocess
import sys
from pathlib import Path

from dvc.repo import Repo


def main(bucket: str, endpoint: str) -> None:
    """Push, lose, pull."""
    subprocess.run(["git", "init", "-q"], check=True)
    with Repo.init(".") as repo, repo.config.edit() as config:
        config["remote"]["s3"] = {"url": f"s3://{bucket}/dvc", "endpointurl": endpoint}
        config["core"]["remote"] = "s3"
    data = Path("data")
    data.mkdir()
    (data / "scan.bin").write_bytes(b"rock" * 4096)
    with Repo(".") as repo:
        repo.add("data")
        assert repo.push() > 0
    shutil.rmtree(data)
    shutil.rmtree(".dvc/cache")
    with Repo(".") as repo:
        repo.pull()
    assert (data / "scan.bin").read_bytes() == b"rock" * 4096


main(*sys.argv[1:])
