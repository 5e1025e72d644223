"""What a clone pulls of the matches stays small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
# The weights of three generators, 2.5 MB each, are half of it.
MAX_OBJECTS, MAX_BYTES = 60, 18e6


def stored(md5: str) -> Path:
    return ROOT / "remote" / "files" / "md5" / md5[:2] / md5[2:]


def test_the_matches_are_few_and_small_in_the_remote() -> None:
    (out,) = yaml.safe_load((ROOT / "matches.dvc").read_text(encoding="utf-8"))["outs"]
    listing = stored(out["md5"])
    if not listing.is_file():
        pytest.skip(f"{listing.relative_to(ROOT)} is not there: remote/ is that of a clone that has it")
    files = json.loads(listing.read_text(encoding="utf-8"))
    assert len(files) == out["nfiles"]
    objects = {each["md5"] for each in files}
    missing = [md5 for md5 in sorted(objects) if not stored(md5).is_file()]
    assert missing == [], f"of {out['path']}, 'dvc push' brings them"
    assert len(objects) <= MAX_OBJECTS
    assert sum(stored(md5).stat().st_size for md5 in objects) <= MAX_BYTES
