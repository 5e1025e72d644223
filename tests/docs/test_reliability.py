"""Each fault of docs/reliability.md names a test that there is."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_row_names_a_test_that_there_is() -> None:
    rows = re.findall(
        r"^\| .* \| `(tests/[\w/]+\.py)::(test_\w+)` \|$", (ROOT / "docs/reliability.md").read_text(), re.M
    )
    assert len(rows) > 15
    absent = [f"{path}::{name}" for path, name in rows if f"def {name}(" not in (ROOT / path).read_text()]
    assert not absent
