"""Foreign weights are imported under names that every later step can use."""

from pathlib import Path

import pytest

from rockbank.core.errors import InputError
from rockbank.core.paths import ProjectPaths
from rockbank.params import load_params
from rockbank.stages.import_weights import import_weights

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.mark.parametrize(
    ("name", "register_as", "says"),
    [
        ("deepflow-1.0", None, "name: got 'deepflow-1.0'; use letters, digits, '-' and '_'"),
        ("", None, "name: got ''"),
        ("../../esc", None, r"name: got '\.\./\.\./esc'"),
        ("mine", "my model", "'my model': no name of a registered model; use letters"),
    ],
)
def test_a_name_that_cannot_be_registered_is_refused_before_anything_is_read(
    tmp_path: Path, name: str, register_as: str | None, says: str
) -> None:
    paths = ProjectPaths(artifacts=tmp_path / "artifacts", reports=tmp_path / "reports", data=tmp_path / "none")
    with pytest.raises(InputError, match=says):
        import_weights(
            tmp_path / "weights.pth",
            network="deepflow",
            latent=(50, 1, 2),
            family="channels",
            name=name,
            register_as=register_as,
            source="a test",
            params=load_params(PARAMS),
            paths=paths,
        )
    assert list(tmp_path.iterdir()) == []
