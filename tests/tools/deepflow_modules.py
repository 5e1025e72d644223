"""The modules that write the report on DeepFlow's case, for its tests."""

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
N_LATENT = 40
ASKED = {"generator": "deepflow/1", "seed": 7, "flow": True, "wells": True, "scaling": "posterior", "iterations": None}


@pytest.fixture(scope="module")
def docs() -> Iterator[Mapping[str, ModuleType]]:
    """Modules of tools/deepflow, which are no part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        names = {"report": "tools.deepflow.__main__"} | {
            name: f"tools.deepflow.{name}" for name in ("runs", "numbers", "bars", "tables", "text")
        }
        yield {name: importlib.import_module(module) for name, module in names.items()}
