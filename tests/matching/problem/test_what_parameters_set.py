"""What parameters set of a case's rock and fluid, and what they leave as it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from rockbank.matching.io.case_file import load_match_case
from rockbank.matching.io.parameters.unknowns import parameterisation
from rockbank.matching.problem.geology import Section
from rockbank.matching.problem.parameterisation import Model
from rockbank.matching.problem.parameters.section import SectionOfGrid
from tests.matching.problem.test_parameterisations import OBSERVATIONS, PRIOR, SETS

DECKS = Path(__file__).parents[2] / "decks"


@pytest.mark.parametrize("name", ["gaussian", "porosity", "ensemble", "zones", "all", "vertical", "images"])
def test_the_cells_of_an_aquifer_keep_their_rock(name: str, tmp_path: Path) -> None:
    """They lie where the deck's AQUNUM says and not where the box has them."""
    shutil.copytree(DECKS / "include", tmp_path / "include")
    deck = (DECKS / "NUMERICAL_AQUIFER.DATA").read_text()
    regions = "REGIONS\nFIPNUM\n 36*1 36*2 /\nSOLUTION\n"
    (tmp_path / "AQUIFER.DATA").write_text(deck.replace("SOLUTION\n", regions, 1))
    np.save(tmp_path / "members.npy", 1e-13 * np.exp(np.random.default_rng(0).standard_normal((5, 72))))
    sections: dict[str, dict[str, Any]] = {
        **{key: next(iter(SETS[key].values())) for key in ("gaussian", "porosity")},
        "ensemble": {"ensemble": {"file": "members.npy", "components": 3}},
        "zones": {"multiplier": {"of": "porosity", "regions": "FIPNUM", "prior": PRIOR}},
        "all": {"multiplier": {"of": "permeability", "prior": PRIOR}},
        "vertical": {"multiplier": {"of": "vertical permeability", "prior": PRIOR}},
    }
    (tmp_path / "observations.csv").write_text(OBSERVATIONS)
    path = tmp_path / "case.yaml"
    keys = {"observations": {"file": "observations.csv"}, "parameters": {"p": sections.get(name, sections["all"])}}
    path.write_text(yaml.safe_dump({"deck": "AQUIFER.DATA", "matching": keys}))
    found = load_match_case(path)
    case, rock = found.case, found.case.rock
    part = parameterisation(found.unknowns, case, None)
    if name == "images":
        part = SectionOfGrid(name="s", generator=Images(), shape=rock.grid.shape, axis="k", at=(0,))  # type: ignore[arg-type]
    part.check(Model(rock=rock, fluid=case.fluid))
    z = torch.ones(part.n_latent, dtype=torch.float64)
    made = part.model(part.variables(z), Model(rock=rock, fluid=case.fluid)).rock
    is_aquifer = torch.as_tensor(~rock.grid.has_place)
    assert int(is_aquifer.sum()) == 1
    changed = 0.0
    for own, new in ((rock.porosity, made.porosity), *zip(rock.components, made.components, strict=True)):
        assert torch.equal(rock.flat(own)[:, is_aquifer], made.flat(new)[:, is_aquifer])
        changed += float((rock.flat(own) - made.flat(new)).abs().sum())
    assert changed > 0


class Images:
    """In the place of a generator: images of the deck's layers, with sand everywhere."""

    n_latent, shape = 1, (6, 4)

    def variables(self, z: torch.Tensor) -> torch.Tensor:
        return z[..., None, None] * torch.ones(2, *self.shape, dtype=torch.float64)

    def rock(self, variables: torch.Tensor) -> Section:
        facies, porosity = variables.unbind(-3)
        return Section(facies=facies, permeability=3e-13 * facies, porosity=0.3 * porosity)
