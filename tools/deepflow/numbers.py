"""The numbers of the report on DeepFlow's case, from the datasets of its runs; all over the members that ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from rockbank.matching.methods.status import RUNNING
from rockbank.matching.results.diagnostics import (
    LOSS_THRESHOLD,
    TIME_MEAN_THRESHOLD,
    connected,
    facies_accuracy,
    has,
    iterates_to,
    loss_history,
    norm_squared,
    norm_squared_history,
    total_loss,
    unseen_cells,
)
from rockbank.matching.results.plots.style import last
from tools.deepflow.runs import Results

ACCURACY_PUBLISHED, ACCURACY_BAR = 0.987, 0.98


@dataclass(frozen=True, kw_only=True)
class Published:
    """One scenario of the paper, read off its figures and approximate; None is what they do not tell.

    Attributes:
        time_mean: least, median and greatest J at the end.
        loss: the same of the loss.
        accurate: of 100 members, those with an accuracy at the wells above 0.987.
        accuracy: least and greatest.
        before, after: of 100 members, those whose wells are connected, before and after a dilation.
        iterations: mean, to a loss of 1e3.
    """

    time_mean: tuple[float, float | None, float] | None = None
    loss: tuple[float, float | None, float] | None = None
    accurate: int | None = None
    accuracy: tuple[float, float] | None = None
    before: int | None = None
    after: int | None = None
    iterations: int | None = None


# The prior's losses are J: facies of a draw cost hundreds at the wells, and the least of those losses is 5.
PUBLISHED = {
    1: Published(time_mean=(10**0.7, 3e4, 10**6.6), before=21, after=35),
    2: Published(before=27, after=51),
    3: Published(loss=(2, None, 58), accuracy=(0.26, 0.70), after=98),
    4: Published(loss=(2.3, 9, 240), accurate=73, after=100, iterations=28),
}


@dataclass(frozen=True, kw_only=True)
class Ends:
    """What the members of a run ended with.

    Attributes:
        time_mean: J, as intended.
        objective: the negative log posterior, of the terms that the run counts, whatever their scaling was.
        loss: the same as published: J + cross-entropies + |z|^2 / 2n.
        accuracy: part of the wells' cells with the right facies.
        norm_squared: |z|^2.
        before, after: 1 where the wells are connected, before and after a dilation.
    """

    time_mean: Float[np.ndarray, " m"]
    objective: Float[np.ndarray, " m"]
    loss: Float[np.ndarray, " m"]
    accuracy: Float[np.ndarray, " m"]
    norm_squared: Float[np.ndarray, " m"]
    before: Float[np.ndarray, " m"]
    after: Float[np.ndarray, " m"]


def ends(of: Results) -> Ends:
    """Of a run."""
    dataset = of.dataset
    name = last(dataset)
    mine = dataset.sel(ensemble=name)
    norms = norm_squared(dataset, name)
    return Ends(
        time_mean=mine.time_mean.values,
        objective=_posterior(of, norms) if of.plan.scaling == "published" else total_loss(dataset, name),
        loss=_published(of, mine.time_mean.values, mine.loss_wells.values, norms),
        accuracy=facies_accuracy(dataset, name),
        norm_squared=norms,
        before=connected(dataset, name),
        after=connected(dataset, name, 1),
    )


@dataclass(frozen=True, kw_only=True)
class Histories:
    """How the members of a run came down, at each iterate; NaN once one has ended.

    Attributes:
        cost: in forward runs.
        objective: that the members minimise; of rml each its own, with perturbed observations; NaN where that was the
            loss as published, below.
        time_mean: J, of the real observations.
        loss: as published, of the real observations and with |z|^2.
    """

    cost: Float[np.ndarray, "m iterate"]
    objective: Float[np.ndarray, "m iterate"]
    time_mean: Float[np.ndarray, "m iterate"]
    loss: Float[np.ndarray, "m iterate"]

    def to(self, values: Float[np.ndarray, "m iterate"], threshold: float) -> Reached:
        """The first iterate at which `values`, one of the above, is at most the threshold."""
        iterations = iterates_to(values, threshold)
        at = np.nan_to_num(iterations).astype(int)
        cost = np.take_along_axis(self.cost, at[:, None], axis=1)[:, 0]
        return Reached(iterations=iterations, cost=np.where(np.isfinite(iterations), cost, np.nan))

    def standing(self, values: Float[np.ndarray, "m iterate"], at: Float[np.ndarray, " n"]) -> Float[np.ndarray, "m n"]:
        """The members' values at any cost, from their last iterates before it on; NaN before their first."""
        stands = np.full((len(values), len(at)), np.nan)
        for i, (cost, of_member) in enumerate(zip(self.cost, values, strict=True)):
            is_known = np.isfinite(cost) & np.isfinite(of_member)
            place = np.searchsorted(cost[is_known], at, side="right")
            stands[i, place > 0] = of_member[is_known][place[place > 0] - 1]
        return stands


@dataclass(frozen=True, kw_only=True)
class Reached:
    """When the members reached a threshold; NaN where they did not."""

    iterations: Float[np.ndarray, " m"]
    cost: Float[np.ndarray, " m"]

    @property
    def n(self) -> int:
        """How many did."""
        return int(np.isfinite(self.cost).sum())


def has_histories(of: Results) -> bool:
    """Whether its members came down in steps, with the flow among their terms."""
    return bool(of.settings["flow"]) and has(of.dataset, "history_cost") and of.dataset.sizes["iterate"] > 1


def histories(of: Results) -> Histories:
    """Of a run that has them."""
    dataset = of.dataset
    dims = ("member", "iterate")
    history = {name: dataset[f"history_{name}"].transpose(*dims).values for name in ("cost", "time_mean", "wells")}
    objective = loss_history(dataset)
    return Histories(
        cost=history["cost"],
        objective=np.full_like(objective, np.nan) if of.plan.scaling == "published" else objective,
        time_mean=history["time_mean"],
        loss=_published(of, history["time_mean"], history["wells"], norm_squared_history(dataset)),
    )


def thresholds(of: Histories) -> dict[str, Reached]:
    """When the members reach J, objective and published loss of the thresholds, as far as they are known."""
    wanted = {
        f"J ≤ {TIME_MEAN_THRESHOLD:g}": (of.time_mean, TIME_MEAN_THRESHOLD),
        f"objective ≤ {LOSS_THRESHOLD:,.0f}": (of.objective, LOSS_THRESHOLD),
        f"published loss ≤ {LOSS_THRESHOLD:,.0f}": (of.loss, LOSS_THRESHOLD),
    }
    return {name: of.to(*each) for name, each in wanted.items() if np.isfinite(each[0]).any()}


def final_cost(dataset: xr.Dataset) -> Float[np.ndarray, " m"]:
    """Of each member from start to end, in forward runs."""
    return np.asarray(np.fmax.reduce(dataset.history_cost.transpose("member", "iterate").values, axis=1))


def members_off_the_bar(of: Results) -> pd.DataFrame:
    """Members that ended, or failed, without J <= 2 and accuracy >= 0.98: index member, and why.

    Columns: status, reason, time_mean, accuracy, and unseen: of the wells' cells those that are wrong and so certain
    that the objective is flat there.
    """
    whole, name = of.whole, last(of.whole)
    rows = pd.DataFrame(
        {
            "status": whole.status.values.astype(str),
            "reason": whole.reason.values.astype(str),
            "time_mean": whole.time_mean.sel(ensemble=name).values,
            "accuracy": facies_accuracy(whole, name),
            "unseen": unseen_cells(whole, name),
        },
        index=whole.member.values,
    )
    is_good = (rows.time_mean <= TIME_MEAN_THRESHOLD) & (rows.accuracy >= ACCURACY_BAR)
    return rows[~is_good & (rows.status != RUNNING)]


def against_adam(adam: Results, newton: Results) -> pd.DataFrame:
    """The cost at which gauss-newton first reaches the objective that the same member of Adam ended with.

    Columns: member, objective (Adam's last), cost_adam, cost_newton (inf where it never does), part. Members that have
    not ended in both runs, or that did not begin at the same place, are left out.
    """
    of_adam, of_newton = histories(adam), histories(newton)
    starts = [each.dataset.z.sel(ensemble="prior").transpose("member", "latent").values for each in (adam, newton)]
    places = {int(member): i for i, member in enumerate(newton.dataset.member.values)}
    rows = []
    for i, member in enumerate(adam.dataset.member.values):
        j = places.get(int(member))
        if j is None or starts[0].shape[1:] != starts[1].shape[1:] or not np.allclose(starts[0][i], starts[1][j]):
            continue
        known = np.flatnonzero(np.isfinite(of_adam.objective[i]))
        objective, cost = of_adam.objective[i, known[-1]], of_adam.cost[i, known[-1]]
        reached = of_newton.to(of_newton.objective, objective).cost[j]
        rows.append((int(member), objective, cost, np.nan_to_num(reached, nan=np.inf)))
    table = pd.DataFrame(rows, columns=["member", "objective", "cost_adam", "cost_newton"])
    return table.assign(part=table.cost_newton / table.cost_adam)


def _posterior(of: Results, norm_squared: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """0.5 sum (r / sigma)^2 + cross-entropies + 0.5 |z|^2, of the terms that the run counts."""
    dataset = of.dataset
    mine = dataset.sel(ensemble=last(dataset)).transpose("member", ...)
    squares = (((mine.simulated - mine.observed) / mine.sigma) ** 2).sum("observation", skipna=False).values
    return np.asarray(of.settings["flow"] * 0.5 * squares + mine.loss_wells.values + 0.5 * norm_squared)


def _published(
    of: Results,
    time_mean: Float[np.ndarray, "*n"],
    wells: Float[np.ndarray, "*n"],
    norm_squared: Float[np.ndarray, "*n"],
) -> Float[np.ndarray, "*n"]:
    """J + cross-entropies + |z|^2 / 2n, of the terms that the run counts."""
    flow = time_mean if of.settings["flow"] else 0.0
    return np.asarray(flow + wells + 0.5 * norm_squared / of.dataset.sizes["latent"])
