"""What the recipe gives on a scan of somebody else: python -m tools.real_scan [FOLDER [GENERATOR]]

FOLDER is a project in which the generator was trained and scored on that scan (docs/tutorials/scan.md has the
commands). Its scores and picture are kept in docs/validation and docs/pictures, and docs/validation/real_scan.md is
written of them; without a FOLDER, the page alone.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rockbank.core.files import read_json, write_json, write_text
from rockbank.core.paths import HISTORY, ProjectPaths
from rockbank.data.manifest import load_manifest

GENERATOR = "shale-texture"
REPORT, PAGE = Path("docs/validation/real_scan.json"), Path("docs/validation/real_scan.md")
PICTURE = Path("docs/pictures/real_scan.png")
TEXT = """# The recipe on a real shale

`python -m tools.real_scan` writes this page. {generator} was trained from nothing on {volumes}, a scan that is no
part of the repository: 14 FIB-SEM slices of a shale of 1720 x 1104 pixels (MIT licence, images/for_alignment of
bnsreenu/python_for_microscopists). The split is by blocks, the parameters are the repository's but for the steps,
{n_steps:,}. The weights of least KID on validation crops were kept.

| {n} test crops of 64 x 64, against | FID | KID x 1000 | KID x 1000, Lite2 | S2 distance | diversity | memorisation |
|---|---:|---:|---:|---:|---:|---:|
| training crops | {real_fid:.1f} | {real_kid:.1f} ± {real_kid_std:.1f} | {real_kid_2:.1f} | {real_s2:.3f} | | |
| {generator} | {fid:.1f} | {kid:.1f} ± {kid_std:.1f} | {kid_2:.1f} | {s2:.3f} | {diversity:.2f} | {memorisation:.2f} |

FID is {fid_ratio:.2f} times that of training crops. Of the measures without a network, S2 lies inside the band of
real crops at {inside_s2:.0%} of the lags, the lineal path at {inside_path:.0%}, the spectrum at {inside_spectrum:.0%}
of the frequencies. The porosity is {porosity:.3f} where the test crops have {real_porosity:.3f}; that of the training
crops is {real_porosity_ratio:.2f} times theirs. The specific surface is {surface:.4f} per pixel where they have
{real_surface:.4f}.

![Test crops, and samples](../pictures/real_scan.png)

Seen by eye, the noise, the dark phase and its branching are right. The bright grains with straight edges, which a few
of the test crops have, are rare among the samples, and faint.

KID on validation crops as training went:

| step | KID x 1000 | S2 distance |
|---:|---:|---:|
{history}
"""


def main(folder: str | None = None, generator: str = GENERATOR) -> None:
    """Take the scores of a project, if one is named, and write the page."""
    if folder is not None:
        take(Path(folder), generator)
    write_text(PAGE, page(read_json(REPORT)))


def take(folder: Path, generator: str) -> None:
    """Keep what the page tells of a project."""
    paths = ProjectPaths(folder / "artifacts", folder / "reports", folder / "artifacts/data")
    history = pd.read_csv(paths.train(generator) / HISTORY)
    scored = history.dropna(subset="kid")
    report = {
        "generator": generator,
        "volumes": [entry.file for entry in load_manifest(folder / "data").volumes],
        "n_steps": int(history["step"].max()),
        "history": scored[["step", "kid", "s2_distance"]].to_dict("records"),
        "scores": read_json(paths.scores(generator)),
    }
    write_json(REPORT, report)
    shutil.copyfile(paths.score(generator) / "real_against_generated.png", PICTURE)


def page(report: Mapping[str, Any]) -> str:
    """The page of a report."""
    scores = report["scores"]
    real, large, inside = scores["real_against_real"], scores["large"], scores["network_free"]["inside_band"]
    return TEXT.format(
        generator=report["generator"],
        volumes=" and ".join(report["volumes"]),
        n_steps=report["n_steps"],
        n=large["n"],
        fid=large["fid"],
        kid=1000 * large["kid"],
        kid_std=1000 * large["kid_std"],
        kid_2=1000 * scores["second_extractor"]["kid"],
        s2=scores["s2_distance"],
        diversity=scores["diversity"],
        memorisation=scores["memorisation"],
        real_fid=real["large"]["fid"],
        real_kid=1000 * real["large"]["kid"],
        real_kid_std=1000 * real["large"]["kid_std"],
        real_kid_2=1000 * real["second_extractor"]["kid"],
        real_s2=real["s2_distance"],
        fid_ratio=large["fid"] / real["large"]["fid"],
        inside_s2=inside["s2"],
        inside_path=inside["lineal_path"],
        inside_spectrum=inside["spectrum"],
        porosity=scores["porosity"]["generated"],
        real_porosity=scores["porosity"]["real"],
        real_porosity_ratio=real["network_free"]["porosity_ratio"],
        surface=scores["specific_surface"]["generated"],
        real_surface=scores["specific_surface"]["real"],
        history="\n".join(
            f"| {row['step']} | {1000 * row['kid']:.1f} | {row['s2_distance']:.4f} |" for row in report["history"]
        ),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
