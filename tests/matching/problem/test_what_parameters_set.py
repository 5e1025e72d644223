"""What parameters set of a case's rock and fluid, and what they leave as it is."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import yaml

from rockbank.core.errors import InputError
from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey
from rockbank.flow.equations.fluid import Fluid, Phase
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.rock import Rock
from rockbank.matching.io.case_file import load_match_case
from rockbank.matching.io.parameters.unknowns import parameterisation
from rockbank.matching.problem.geology import Section, WellFacies
from rockbank.matching.problem.objective import Objective
from rockbank.matching.problem.parameterisation import Model, Parameterisation
from rockbank.matching.problem.parameters.curves import CurveNumbers
from rockbank.matching.problem.parameters.fields import LinearField, Property
from rockbank.matching.problem.parameters.joint import Joint
from rockbank.matching.problem.parameters.multipliers import Zones
from rockbank.matching.problem.parameters.prior import Prior
from rockbank.matching.problem.parameters.section import SectionOfGrid
from tests.matching.problem.test_parameterisations import OBSERVATIONS, PRIOR, SETS, written

SHAPE = (6, 4, 3)
LAW = BrooksCorey(water_curve=Corey(residual=0.1, span=0.7), oil_curve=Corey(residual=0.15, span=0.6))
OWN = Model(
    rock=Rock(
        grid=Grid(shape=SHAPE, spacing=(10.0, 10.0, 2.0)),
        permeability=torch.full(SHAPE, 1e-13, dtype=torch.float64),
        porosity=torch.full(SHAPE, 0.2, dtype=torch.float64),
    ),
    fluid=Fluid(
        water=Phase(viscosity=1e-3, density=1000.0),
        oil=Phase(viscosity=2e-3, density=800.0),
        curves=BrooksCorey(water_curve=Corey(residual=0.2, span=0.6), oil_curve=Corey(residual=0.2, span=0.6)),
    ),
)
EQUILIBRIUM = {"equilibrium": {"datum": "0 m", "pressure": "200 bar", "contact": "100 m"}}
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
        part = images("p", (0,))
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

    n_latent = 1

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def variables(self, z: torch.Tensor) -> torch.Tensor:
        return z[..., None, None] * torch.ones(2, *self.shape, dtype=torch.float64)

    def rock(self, variables: torch.Tensor) -> Section:
        facies, porosity = variables.unbind(-3)
        return Section(facies=facies, permeability=3e-13 * facies, porosity=0.3 * porosity)


def images(name: str, at: tuple[int, ...], axis: Literal["i", "j", "k"] = "k") -> SectionOfGrid:
    generator: Any = Images(tuple(n for n, each in zip(SHAPE, "ijk", strict=True) if each != axis))
    return SectionOfGrid(name=name, generator=generator, shape=SHAPE, axis=axis, at=at)


def field(name: str, value: float, of: Property = "permeability", n: int = int(np.prod(SHAPE))) -> LinearField:
    mean = torch.full((n,), value, dtype=torch.float64)
    return LinearField(name=name, of=of, cells=np.arange(n), mean=mean, basis=0.1 * torch.ones_like(mean)[:, None],
                       says="")  # fmt: skip


def numbers(name: str, *keys: str, law: BrooksCorey | None = None) -> CurveNumbers:
    prior = Prior(law="normal", a=2.0, b=0.1)
    names = [f"{name}.{key}" for key in keys]
    parts: dict[str, Any] = {of: tuple(key.split(".")) for of, key in zip(names, keys, strict=True)}
    return CurveNumbers(priors=dict.fromkeys(names, prior), parts=parts, law=law)


def model(parts: Sequence[Parameterisation]) -> Model:
    """Of a small rock with what they set."""
    joint = Joint(parts)
    joint.check(OWN)
    return joint.model(joint.variables(torch.ones(joint.n_latent, dtype=torch.float64)), OWN)


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_images_lie_over_fields_and_multipliers_multiply_both_whatever_the_order(order: tuple[int, ...]) -> None:
    twice = Zones(
        priors={"m": Prior(law="normal", a=1.0, b=1.0)}, of="permeability", cells={"m": OWN.rock.grid.placed_cells}
    )
    parts = (images("s", (0,)), field("k", np.log(1e-14) - 0.1), twice)
    k = model([parts[i] for i in order]).rock.components[0]
    for layer, expected in ((0, 6e-13), (1, 2e-14)):
        np.testing.assert_allclose(k[..., layer].detach(), expected, rtol=1e-12)


@pytest.mark.parametrize("turned", [False, True])
def test_numbers_of_curves_are_of_another_parameters_law_whatever_the_order(turned: bool) -> None:
    parts = [numbers("a", "water.exponent"), numbers("b", "oil.exponent", law=LAW)]
    curves = model(parts[::-1] if turned else parts).fluid.curves
    assert isinstance(curves, BrooksCorey)
    assert float(curves.water_curve.exponent) == pytest.approx(2.1)
    assert float(curves.oil_curve.exponent) == pytest.approx(2.1)
    assert curves.water_curve.residual == 0.1


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([field("a", -30.0), field("b", -31.0)], "b: sets the permeability of every cell, as a does"),
        ([images("a", (0,)), images("b", (0, 1))], "b: has images in cells of a"),
        ([images("a", (1,)), images("b", (5,), "i")], "b: has images in cells of a"),
        ([field("a", -30.0), images("b", (0, 1, 2))], "a: all its cells have images, of b"),
        (
            [numbers("a", "oil.end", "oil.exponent"), numbers("b", "oil.exponent")],
            "b.oil.exponent: is the same number as a.oil.exponent",
        ),
        ([numbers("a", "oil.end", law=LAW), numbers("b", "water.end", law=LAW)], "b.water.end: has a 'law', as a.oil"),
    ],
)
def test_two_parameters_of_the_same_are_refused_with_both_names(parts: Any, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        Joint(parts).check(OWN)


def test_parameters_of_different_things_are_taken() -> None:
    Joint(
        [field("a", -30.0), field("b", 0.0, "porosity"), images("c", (0,)), numbers("d", "oil.end"),
         numbers("e", "oil.exponent", law=LAW)]
    ).check(OWN)  # fmt: skip


def test_facies_where_no_parameter_has_any_are_refused(tmp_path: Path) -> None:
    case = load_match_case(written(tmp_path, SETS["curves"]))
    own = case.case.rock.grid.shape
    generator: Any = Images(own[:2])
    rock = Joint([SectionOfGrid(name="s", generator=generator, shape=own, axis="k", at=(1,)), numbers("c", "oil.end")])
    for cells in (((0, 0, 1), (2, 1, 0), (3, 1, 0)), ((0, 0, 1),)):
        facies = WellFacies(cells=cells, is_sand=torch.ones(len(cells), dtype=torch.bool))
        if len(cells) == 1:
            assert Objective(rock, case.case, case.observations, facies).has_wells
            continue
        with pytest.raises(InputError, match=r"facies: no parameter has any in cell \(2, 1, 0\) and 1 more"):
            Objective(rock, case.case, case.observations, facies)


@pytest.mark.parametrize("initial", [{"pressure": "200 bar"}, {"pressure": "200 bar", "saturation": 0.2}, EQUILIBRIUM])
def test_connate_water_that_the_initial_saturation_would_not_follow_is_refused(
    initial: dict[str, Any], tmp_path: Path
) -> None:
    """Without a saturation it is the curves' own connate water, of each member."""
    path = written(tmp_path, SETS["curves"])
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"initial": initial}))
    case = load_match_case(path)
    other = BrooksCorey(water_curve=Corey(residual=0.2, span=0.7), oil_curve=Corey(residual=0.1, span=0.7))
    for part, is_fixed in (
        (numbers("c", "oil.end", "water.residual"), False),
        (numbers("c", "oil.end", law=LAW), False),
        (numbers("c", "oil.end", "oil.residual", law=other), True),
    ):
        if is_fixed or ("saturation" not in initial and "equilibrium" not in initial):
            assert Objective(part, case.case, case.observations, case.facies).has_flow
            continue
        with pytest.raises(
            InputError, match=r"^c\.(water\.residual|oil\.end): .*would not follow; give a pressure alone"
        ):
            Objective(part, case.case, case.observations, case.facies)
