"""The folders in which the blocks of the pages are run, by the names that the pages give them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile
import yaml

from rockbank.mlops import registry
from tests.docs.blocks import ROOT, Block, blocks
from tests.matching.tiny import write_case, write_tiny_generator
from tests.serving.processes import launch
from tests.tiny_generators import write_generator
from tests.warm import commands

# The world of the blocks that are run in a clone, where tests/pipelines has made one.
CLONE = "clone"
# Of a user's service, in the pages.
ADDRESS = "127.0.0.1:8000"


@dataclass(frozen=True, kw_only=True)
class World:
    """A folder that blocks are run in, one after another.

    Attributes:
        folder: where they are run.
        source: where the code of rockbank is.
        instead: what stands in the place of a word of the pages.
    """

    folder: Path
    source: Path = ROOT
    instead: dict[str, str] = field(default_factory=dict)

    def run_all(self, page: Path, name: str) -> None:
        """Run the blocks of a page that are of the world `name`, in their order."""
        for block in blocks(page):
            if block.world == name:
                self.run(block)

    def run(self, block: Block) -> str:
        """What a block prints; it has to end well."""
        text = block.text
        for word, other in self.instead.items():
            text = text.replace(word, other)
        shell = ["python", "-c"] if block.language == "python" else ["bash", "-euo", "pipefail", "-c"]
        bare = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_", "ROCKBANK_"))
        }
        env = bare | {
            "PATH": f"{commands()}{os.pathsep}{bare['PATH']}",
            "PYTHONPATH": f"{self.source / 'src'}{os.pathsep}{self.source}",
            "COLUMNS": "200",
            "WARM_SPAWN": str(commands() / "python"),
            "DVC_NO_ANALYTICS": "1",
        }
        done = subprocess.run([*shell, text], cwd=self.folder, env=env, capture_output=True, text=True, check=False)
        printed = done.stdout + done.stderr
        assert done.returncode == 0, f"{block} ended with {done.returncode}:\n{printed[-4000:]}"
        return printed


@contextmanager
def cases(folder: Path, store: Path) -> Iterator[World]:
    """The case files of the repository."""
    shutil.copytree(ROOT / "cases", folder / "cases")
    yield World(folder=folder)


@contextmanager
def scan(folder: Path, store: Path) -> Iterator[World]:
    """A scan of one slice."""
    grey = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    tifffile.imwrite(folder / "slice.tif", grey)
    yield World(folder=folder)


@contextmanager
def registered(folder: Path, store: Path) -> Iterator[World]:
    """A registry with a tiny endless generator, shale@champion."""
    with _registry(folder, store):
        entry = registry.push("shale", write_generator(folder / "generator", endless=True))
        registry.set_alias("shale", registry.CHAMPION, entry.version)
    yield World(folder=folder)


@contextmanager
def service(folder: Path, store: Path) -> Iterator[World]:
    """The same registry, and a service of it."""
    with registered(folder, store):
        running = launch(folder, models="shale@champion")
        try:
            yield World(folder=folder, instead={ADDRESS: running.address})
        finally:
            running.end()


@contextmanager
def match(folder: Path, store: Path) -> Iterator[World]:
    """A case of 16 x 16 cells under the name of DeepFlow's, and the generator of its sections, channels@champion."""
    (folder / "cases").mkdir()
    case = write_case(folder / "cases", generator="channels@champion").rename(folder / "cases" / "deepflow.yaml")
    assert yaml.safe_load(case.read_text(encoding="utf-8"))["matching"]["generator"] == "channels@champion"
    with _registry(folder, store):
        entry = registry.push("channels", write_tiny_generator(folder / "generator"))
        registry.set_alias("channels", registry.CHAMPION, entry.version)
    yield World(folder=folder)


WORLDS = {"cases": cases, "match": match, "registry": registered, "scan": scan, "service": service}


@contextmanager
def _registry(folder: Path, store: Path) -> Iterator[None]:
    """MLflow's store in the folder, for what is registered within."""
    import mlflow

    shutil.copyfile(store, folder / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    with chdir(folder):
        yield
    mlflow.set_tracking_uri(None)
