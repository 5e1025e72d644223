"""Write docs/validation/recipe.md from the trials, the trainings and the scores of the working folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from PIL import Image

from rockbank.core.files import read_json, replacing, write_text
from rockbank.core.paths import HISTORY, PIPELINE
from rockbank.generator.card import ModelCard
from rockbank.generator.sampler import Sampler
from rockbank.params import Params, load_params
from rockbank.plot.figures import tidy
from rockbank.plot.grids import grid
from rockbank.rock.crops import load_crops, to_intensity
from tools.seeds import FITTED_STEPS
from tools.seeds import TABLE as SEEDS

PAGE = Path("docs/validation/recipe.md")
TRIALS = Path("docs/validation/trials.csv")
PICTURE = Path("docs/pictures/recipe.png")
SIDE_BY_SIDE = Path("docs/pictures/recipe_side_by_side.png")
FAMILY = "shale"
BEST = "shale-texture"
# Crops a side of each sheet.
N_SIDE = 8
INTRODUCTION = """# How the texture generator came about

`python -m tools.recipe` writes this page: the trials from docs/validation/trials.csv, the rest from the working
folder's trainings and scores.

The recipe: a fully convolutional generator without padding (`gan/texture.py`), a critic that looks through the frozen
features of EfficientNet-Lite1 (`gan/projected.py`; Sauer et al. 2021), the hinge loss, and the energy distance between
a batch and all training crops in the same features (`gan/energy_distance.py`). Rates fall to 0 at the end, the
generator's gradient is clipped, and its weights are averaged. At last the weights of its noise, 288 numbers, are fitted
to the crops' mean power spectrum (`gan/spectrum.py`).

**The critic has seen features of the same family** as those that FID and KID are of (Lite0; the scores have Lite2
beside it). So the measures that no network has a part in are what counts: S2, lineal path, spectrum, grey values;
of the spectrum too a part has been shown to it.

## Trials

One thread of a core with bf16, sample shale, 64 x 64, batch 16; KID of 300 samples against 300 crops that the training
has not seen. A and C to E on strips, the others on blocks. Each is one seed: a difference of a fifth in KID is chance.
"""
LEARNT = """
What they taught:

- At rates that are worth it, Adam without momentum takes a step of up to ten times the rate where one gradient is ten
  times the usual (its second moment forgets in 100 steps). A single one of them threw A, F and G out of the rock for
  good. Clipping the gradient's norm to 1, far below its usual 20 to 100, ended that.
- tanh has no way back from its ends; the output is not bounded any more.
- The energy distance brings the dark phases early, which a critic that judges crops one by one takes long to miss.
- Most of the gain is in the end: the last fifth of K, where the rates have nearly fallen to 0, halves its KID; so does
  that of N, after 6,000 steps that gained nothing. At full rates longer training does not pay.
- What N lacked was 3 to 8 % of the power of waves shorter than four pixels, which features of strides 2 and more hardly
  tell. How much noise enters at each scale mends that without the critic, in a minute and a half. KID fell by it
  from N to R; over the seeds below, which were trained for shorter, KID and FID rise a little, by less than a tenth of
  what they differ between seeds.
"""
# Of the columns of the seeds' table: what stands over them, and their digits.
SHOWN = {
    "fid": ("FID", 1),
    "kid": ("KID", 4),
    "s2_distance": ("S2 distance", 4),
    "spectrum_inside": ("spectrum inside", 2),
    "spectrum_distance": ("spectrum distance", 3),
    "diversity": ("diversity", 2),
    "memorisation": ("memorisation", 2),
}
SEEN = """## Side by side

![64 test crops, 64 samples](../pictures/recipe_side_by_side.png)

Left, 64 test crops; right, 64 samples of shale-texture, seed 7, none chosen. What gives the samples away: the bright
grains of the rock are cubes with sharp edges, those of the samples blobs, some with a checked pattern; of the large
light grains the rock has more, with straight edges, and the samples' are small and round; dark patches of the rock hold
crisp black pores, those of the samples rings and threads. Cracks, their branching, the small pores, the bedding and the
noise are hard to tell apart.
"""


def main() -> None:
    """The page and its picture."""
    params = load_params()
    matplotlib.use("agg")
    trials = pd.read_csv(TRIALS)
    curves = {name: curve for name in params.of_family(FAMILY) if (curve := kid_by_minutes(name, params)) is not None}
    draw(curves)
    draw_side_by_side()
    seeds = [by_seeds(pd.read_csv(SEEDS))] if SEEDS.is_file() else []
    parts = [INTRODUCTION, markdown(trials), LEARNT, *seeds, how_long(curves), final(params), SEEN]
    write_text(PAGE, "\n".join(part.strip("\n") + "\n" for part in parts))


def kid_by_minutes(name: str, params: Params) -> pd.DataFrame | None:
    """Minutes of training, without evaluations, and the KID of the average at each evaluation."""
    path = PIPELINE.train(name) / HISTORY
    if not path.is_file():
        return None
    history = pd.read_csv(path)
    generator = params.generator(name)
    history["minutes"] = (generator.n_critic * generator.batch / history["images_per_second"]).cumsum() / 60
    return history.loc[history["kid"].notna(), ["step", "minutes", "kid", "s2_distance"]]


def draw(curves: dict[str, pd.DataFrame]) -> None:
    """KID against minutes, both on logarithmic axes."""
    figure, axis = plt.subplots(figsize=(7.0, 4.0), layout="constrained")
    for name, curve in curves.items():
        axis.loglog(curve["minutes"], curve["kid"].clip(lower=1e-4), "o-", label=name, markersize=4)
    axis.set(xlabel="minutes of training", ylabel="KID on validation crops")
    tidy(axis)
    axis.legend(loc="best", frameon=False)
    with replacing(PICTURE) as beside:
        figure.savefig(beside, dpi=110, format="png")
    plt.close(figure)


def draw_side_by_side() -> None:
    """So many test crops on the left, so many samples of the best generator on the right."""
    real = load_crops(PIPELINE.crops(FAMILY)).test[: N_SIDE**2]
    folder = PIPELINE.export(BEST)
    generated = Sampler(folder, ModelCard.load(folder)).sample(seed=7, n=N_SIDE**2)
    panels = [grid(samples, N_SIDE) for samples in (to_intensity(real), generated)]
    gap = np.full((len(panels[0]), 24), 255, np.uint8)
    with replacing(SIDE_BY_SIDE) as beside:
        Image.fromarray(np.hstack([panels[0], gap, panels[1]])).save(beside, format="PNG")


def how_long(curves: dict[str, pd.DataFrame]) -> str:
    """How long for how good."""
    rows = []
    for name, curve in curves.items():
        best = curve.loc[curve["kid"].idxmin()]
        rows.append(
            {
                "generator": name,
                "steps": int(curve["step"].iloc[-1]),
                "minutes": f"{curve['minutes'].iloc[-1]:.1f}",
                "least KID": f"{best['kid']:.4f}",
                "at step": int(best["step"]),
            }
        )
    return f"""## How long for how good

![KID against minutes of training](../pictures/recipe.png)

{markdown(pd.DataFrame(rows))}
Minutes are those of the steps alone, on the machine that trained the weights; KID is of validation crops, by which the
step was chosen.
"""


def final(params: Params) -> str:
    """Scores on test crops, beside those of training crops in the generator's place."""
    rows: list[dict[str, Any]] = []
    for name in params.of_family(FAMILY):
        path = PIPELINE.scores(name)
        if path.is_file():
            scores = read_json(path)
            if not rows:
                rows.append(row("training crops", scores["real_against_real"], {"diversity": 1, "memorisation": 1}))
            rows.append(row(name, scores, scores))
    return f"""## Scores on test crops

{markdown(pd.DataFrame(rows))}
Of 1000 samples against 1000 test crops, from blocks of rock that neither training nor the choice of the step has seen.
Inside: the part of the lags (S2, lineal path) or frequencies (spectrum) at which the mean lies in the simultaneous
95 % band of what a generator could reach that has learnt its training rock exactly.
"""


def by_seeds(table: pd.DataFrame) -> str:
    """The last two candidates, with the noise fitted and without, by the seeds of `table`."""
    of_seed = table.set_index(["spectral_steps", "seed"])[list(SHOWN)].sort_index()
    without, fitted = of_seed.loc[0], of_seed.loc[FITTED_STEPS]
    candidates = {
        "without the fit": without,
        "with the fit": fitted,
        "what the fit changes": (fitted - without).dropna(),
    }
    means = [{"": name, "seeds": len(each)} | spread(each) for name, each in candidates.items()]
    steps_and_seeds = of_seed.index.to_frame(index=False)
    single = [
        {"seed": seed, "steps of the fit": steps}
        | {title: f"{of_seed.loc[(steps, seed), key]:.{digits}f}" for key, (title, digits) in SHOWN.items()}
        for steps, seed in steps_and_seeds.sort_values(["seed", "spectral_steps"]).itertuples(index=False)
    ]
    return f"""## Seed by seed

The last two candidates are the recipe with and without the fit of its noise, here at a coffee break's length as run S
(`python -m tools.seeds`), of 1000 samples against 1000 test crops. Mean ± standard deviation over the seeds; what the
fit changes is of the seeds that have both, each against itself.

{markdown(pd.DataFrame(means))}
{markdown(pd.DataFrame(single))}"""


def spread(scores: pd.DataFrame) -> dict[str, str]:
    """Mean ± standard deviation of each shown column; one seed has no deviation."""
    deviations = scores.std(ddof=1)
    return {
        title: f"{scores[key].mean():.{digits}f}" + (f" ± {deviations[key]:.{digits}f}" if len(scores) > 1 else "")
        for key, (title, digits) in SHOWN.items()
    }


def row(name: str, scores: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """One row of the table."""
    free, second = scores["network_free"], scores["second_extractor"]
    inside = {key: f"{100 * value:.0f} %" for key, value in free["inside_band"].items()}
    return {
        "": name,
        "FID": f"{scores['large']['fid']:.1f}",
        "KID": f"{scores['large']['kid']:.4f} ± {scores['large']['kid_std']:.4f}",
        "KID (Lite2)": "–" if second is None else f"{second['kid']:.4f}",
        "S2 distance": f"{scores['s2_distance']:.4f}",
        **{f"{key} inside": value for key, value in inside.items()},
        "spectrum distance": f"{free['spectrum_distance']:.3f}",
        "grey distance": f"{free['grey_distance']:.4f}",
        "diversity": f"{other['diversity']:.2f}",
        "memorisation": f"{other['memorisation']:.2f}",
    }


def markdown(table: pd.DataFrame) -> str:
    """A table, numbers to the right."""
    numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in table.dtypes]
    lines = [list(map(str, table.columns)), ["---:" if each else "---" for each in numeric]]
    lines += [[str(value) for value in record] for record in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main()
