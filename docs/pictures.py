"""Remake the pictures of the docs from the last pipeline run of the working folder: python -m docs.pictures."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch

from docs import mlflow_ui
from rockbank import registry
from rockbank.crops import load_crops, to_intensity
from rockbank.files import read_json
from rockbank.pictures import BLUE, GREY, ORANGE, grid
from rockbank.sampler import Sampler

PICTURES = Path("docs/pictures")
ARTIFACTS = Path("artifacts")
STORE = Path("mlflow.db")
FAMILY = "shale"
CHANNELS = "channels-wgan-lp"
COMPARED = ("shale-wgan-gp", "shale-dcgan")
N_HEAD = 12
# The stages, left to right, those of a column one below the other; what happens in each.
STAGES = (
    ("prepare\nrandom crops of the scans", "channels\nriver-channel sections"),
    ("check\nGreat Expectations",),
    ("train\nWGAN-GP, DCGAN, WGAN-LP",),
    ("score\nFID, KID, S2",),
    ("export\nONNX and card",),
    ("gate\nverdict with reasons",),
    ("register\nMLflow model registry",),
    ("promote\n@champion",),
)


def main() -> None:
    """Every picture, or an error that says which file is missing."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    matplotlib.use("agg")
    draw_pipeline(PICTURES / "pipeline.png")
    champion = registry.champion(FAMILY)
    if champion is None:
        raise FileNotFoundError(f"{FAMILY}@champion: not in the registry; run 'make run' first")
    generator = champion.tags["generator"]
    for source, name in (
        (f"{generator}/real_against_generated", "real_against_generated_shale"),
        (f"{generator}/s2", "s2_shale"),
        (f"{generator}/training", "training_shale"),
        (f"{CHANNELS}/real_against_generated", "samples_channels"),
    ):
        shutil.copyfile(_there(ARTIFACTS / "score" / f"{source}.png"), PICTURES / f"{name}.png")
    draw_head(PICTURES / "head.png", generator)
    photograph_mlflow(generator)
    print("\n".join(str(path) for path in sorted(PICTURES.glob("*.png"))))


def draw_head(path: Path, generator: str) -> None:
    """Real crops, as many of the champion, and the two S2 curves."""
    crop_set = load_crops(_there(ARTIFACTS / "data" / FAMILY))
    real = to_intensity(crop_set.holdout[:: max(1, len(crop_set.holdout) // N_HEAD)][:N_HEAD])
    with tempfile.TemporaryDirectory() as temporary:
        _, card = registry.pull(f"{FAMILY}@champion", Path(temporary) / "pulled")
        generated = Sampler(Path(temporary) / "pulled", card).sample(seed=7, n=N_HEAD)
    curves = pd.read_csv(_there(ARTIFACTS / "score" / generator / "s2.csv"))
    microns = curves["lag"] * crop_set.voxel_size * 1e6
    size = crop_set.crops.shape[-1] * crop_set.voxel_size * 1e6

    figure, axes = plt.subplots(
        1, 3, figsize=(12.0, 3.2), dpi=150, layout="constrained", width_ratios=[4, 4, 4.2], gridspec_kw={"wspace": 0.05}
    )
    for axis, samples, title in zip(axes, (real, generated), ("shale never seen in training", generator), strict=False):
        axis.imshow(grid(samples, 4), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_title(title, fontsize=11)
        axis.set_axis_off()
    axes[2].plot(microns, curves["real"], color=BLUE, linewidth=2, label="real")
    axes[2].plot(microns, curves["generated"], "--", color=ORANGE, linewidth=2, label="generated")
    axes[2].set_title("two-point correlation of the pores, S2(r)", fontsize=11)
    axes[2].set(xlabel="r (µm)", xlim=(0, float(microns.iloc[-1])), ylim=(0, None))
    axes[2].spines[["top", "right"]].set_visible(False)
    axes[2].legend(frameon=False)
    figure.supxlabel(f"each square: {size:.3g} x {size:.3g} µm", fontsize=9, color=GREY, x=0.31)
    figure.savefig(path)
    plt.close(figure)


def draw_pipeline(path: Path) -> None:
    """The stages as boxes from left to right, in two rows, with arrows."""
    figure, axis = plt.subplots(figsize=(11.0, 3.4), dpi=150, layout="constrained")
    width, height, n_columns = 2.15, 0.74, 4
    places: list[list[tuple[float, float]]] = []
    for i, column in enumerate(STAGES):
        row, x = divmod(i, n_columns)
        # The lower row starts below the upper one's first box, as lines of text do.
        centre = 1.1 - 2.4 * row
        offsets = np.linspace(0.55, -0.55, len(column)) if len(column) > 1 else [0.0]
        places.append([(2.75 * x, centre + offset) for offset in offsets])
        for (left, middle), text in zip(places[-1], column, strict=True):
            name, _, about = text.partition("\n")
            box = FancyBboxPatch(
                (left, middle - height / 2), width, height, boxstyle="round,pad=0.04", facecolor="white", edgecolor=BLUE
            )
            axis.add_patch(box)
            axis.text(left + width / 2, middle + 0.14, name, ha="center", va="center", fontsize=11, weight="bold")
            axis.text(left + width / 2, middle - 0.17, about, ha="center", va="center", fontsize=8, color=GREY)
    for before, after in zip(places, places[1:], strict=False):
        for x, y in before:
            _arrow(axis, (x + width, y), after[0], turn=after[0][0] < x, width=width)
    axis.text(0.0, 2.45, "dvc repro", fontsize=9, color=GREY, family="monospace")
    axis.set(xlim=(-0.2, 2.75 * 3 + width + 0.5), ylim=(-2.0, 2.7), aspect="equal")
    axis.set_axis_off()
    figure.savefig(path)
    plt.close(figure)


def _arrow(axis: plt.Axes, tail: tuple[float, float], head: tuple[float, float], *, turn: bool, width: float) -> None:
    style = {"arrowstyle": "-|>", "color": GREY, "shrinkA": 4, "shrinkB": 4, "linewidth": 1.2}
    if not turn:
        axis.annotate("", head, tail, arrowprops=style)
        return
    # From the end of a row down, along the gap, and to the start of the next row.
    gap = -0.15
    below, above = (tail[0] - width / 2, tail[1] - 0.41), (head[0] + width / 2, head[1] + 0.41)
    axis.plot([below[0], below[0], above[0]], [below[1], gap, gap], color=GREY, linewidth=1.2)
    axis.annotate("", above, (above[0], gap), arrowprops={**style, "shrinkA": 0})


def photograph_mlflow(generator: str) -> None:
    """The pages of the MLflow UI on which runs are compared, one is read, and the registry is seen."""
    if mlflow_ui.CHROMIUM is None or mlflow_ui.CHROMEDRIVER is None:
        raise FileNotFoundError("chromium or chromedriver: not found; apt install chromium chromium-driver")
    runs = {name: read_json(_there(ARTIFACTS / "run" / f"{name}.json"))["run_id"] for name in {*COMPARED, generator}}
    experiment = registry.mlflow.get_experiment_by_name(FAMILY).experiment_id
    compared = json.dumps([runs[name] for name in COMPARED])
    query = f'runs={compared}&experiments=["{experiment}"]'
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with (
            mlflow_ui.server(_there(STORE), folder / "artifacts", folder / "log") as address,
            mlflow_ui.pages(address, (1440, 1500)) as ui,
        ):
            ui.open(f"compare-runs?{query}", *COMPARED, "score/kid", "s2.png")
            ui.click("Visualizations")
            for switch in ui.find("//*[normalize-space()='Show diff only']/preceding::button[@role='switch'][1]"):
                ui.press(switch)
            ui.click("real_against_generated.png")
            _shoot(ui, "mlflow_compare")
            ui.open(f"experiments/{experiment}/runs?compareRunsMode=CHART", *COMPARED, "score")
            _shoot(ui, "mlflow_charts")
            ui.open(f"experiments/{experiment}/runs/{runs[generator]}", generator, "Scores", "Parameters")
            _shoot(ui, "mlflow_run")
            ui.open(f"models/{FAMILY}", FAMILY, "champion")
            _shoot(ui, "mlflow_model")


def _shoot(ui: mlflow_ui.Pages, name: str) -> None:
    ui.settle()
    ui.browser.save_screenshot(str(PICTURES / f"{name}.png"))


def _there(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; run 'make run' first")
    return path


if __name__ == "__main__":
    try:
        main()
    except (FileNotFoundError, RuntimeError) as error:
        print(f"error {error}", file=sys.stderr)
        sys.exit(1)
