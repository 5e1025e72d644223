"""The seeds' table, and what the recipe's page says of it."""

import pandas as pd
import pytest

from rockbank.core.errors import InputError
from tools import recipe, seeds
from tools.seeds import FITTED_STEPS, Row


def made(seed: int, steps: int, kid: float) -> Row:
    return Row(
        seed=seed,
        spectral_steps=steps,
        fid=1000 * kid,
        kid=kid,
        kid_second=kid,
        s2_distance=0.01,
        spectrum_inside=0.5,
        spectrum_distance=0.1,
        diversity=1.0,
        memorisation=0.9,
    )


def test_a_row_takes_the_place_of_the_one_of_its_seed_and_fit(monkeypatch, tmp_path):
    monkeypatch.setattr(seeds, "TABLE", tmp_path / "seeds.csv")
    for row in (made(2, 0, 0.04), made(1, FITTED_STEPS, 0.01), made(1, 0, 0.02), made(2, 0, 0.03)):
        seeds._record(row)
    table = pd.read_csv(tmp_path / "seeds.csv")
    assert table[["seed", "spectral_steps", "kid"]].values.tolist() == [
        [1, 0, 0.02],
        [1, FITTED_STEPS, 0.01],
        [2, 0, 0.03],
    ]


def test_the_page_compares_each_seed_with_itself():
    """Seed 3 has the fit alone: it is in that candidate's mean, and not in the difference."""
    rows = [made(1, 0, 0.02), made(1, 80, 0.018), made(2, 0, 0.04), made(2, 80, 0.034), made(3, 80, 0.03)]
    lines = recipe.by_seeds(pd.DataFrame(map(vars, rows))).splitlines()
    kids = {
        cells[1].strip(): [each.strip() for each in cells[2:5]] for line in lines if len(cells := line.split("|")) > 5
    }
    # Sample standard deviations: 0.02 / sqrt 2, that of 18, 34 and 30, and 0.004 / sqrt 2.
    assert kids["without the fit"] == ["2", "30.0 ± 14.1", "0.0300 ± 0.0141"]
    assert kids["with the fit"] == ["3", "27.3 ± 8.3", "0.0273 ± 0.0083"]
    assert kids["what the fit changes"] == ["2", "-4.0 ± 2.8", "-0.0040 ± 0.0028"]


@pytest.mark.parametrize(("arguments", "named"), [([], "none"), (["9", "x", "-1"], "['x', '-1']")])
def test_what_is_no_seed_is_refused_by_name(arguments, named):
    with pytest.raises(InputError) as raised:
        seeds._seeds(arguments)
    assert str(raised.value).startswith(f"SEED ...: got {named}; name whole numbers")
