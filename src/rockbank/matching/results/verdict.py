"""Whether the members of a match are worth anything as an ensemble: their spread, the data, and how many they are.

The bounds were tried on 17 matches of DeepFlow's case: the least spread there is 0.27 of the prior's, that of es-mda
with 100 members, and no mean is further from the data than 1.1 times what is expected. And on linear problems of 50 or
100 latents and 30 or 111 data, 10 to 60 of them independent, by es-mda with 4 to 400 members: there a spread below
SPREAD_LEAST was always a collapse, with the truth 40 to 720 spreads away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

# Of the prior's spread.
SPREAD_LEAST = 0.1
# How often one more draw of the members' own distribution would be as far from their mean as the data are.
RARE = 1e-3
# Directions that the data may tell apart, by those in which a smoother moves its members, one less than they are.
# Beyond it the truth of the linear problems of 100 latents was 7 spreads away or more.
DIRECTIONS_MOST = 5


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of an ensemble after a match.

    Attributes:
        n_members: that ended.
        n_latent: numbers of a latent.
        n_data: observations and wells' facies that were matched.
        spread: as `spread_of_prior`; None of a single member.
        misfit: as `misfit_of_mean`; None of a single member, or without observations that were matched.
        is_smoother: whether the members moved together, each within what all of them span.
    """

    n_members: int
    n_latent: int
    n_data: int
    spread: float | None
    misfit: float | None
    is_smoother: bool


def spread_of_prior(z: Float[np.ndarray, "m n"]) -> float | None:
    """The latents' standard deviation over the members, root mean square; the prior's, N(0, I), has 1."""
    if len(z) < 2 or not z.shape[1]:
        return None
    # Sorted, so that the order of the members changes no bit.
    return float(np.sqrt(np.sort(np.ascontiguousarray(z), axis=0).var(axis=0, ddof=1).mean()))


def misfit_of_mean(
    simulated: Float[np.ndarray, "m d"], observed: Float[np.ndarray, " d"], sigma: Float[np.ndarray, " d"]
) -> float | None:
    """How far the members' mean is from the data, by what their spread and the errors explain.

        sqrt( mean( (d - mean_i d_i)^2 / ((1 + 1/m) var_i d_i + sigma^2) ) )

    1 where the data are one more draw of the members with noise; of one datum it is as Student's t with m - 1 degrees.
    """
    m = len(simulated)
    if m < 2 or not len(observed):
        return None
    expected = (1 + 1 / m) * simulated.var(axis=0, ddof=1) + sigma**2
    return float(np.sqrt(np.mean((observed - simulated.mean(axis=0)) ** 2 / expected)))


def misfit_most(n_members: int) -> float:
    """That of data which all say the same, as far from the members as one in 1 / RARE draws of theirs."""
    return float(stdtrit(n_members - 1, 1 - RARE / 2))


def warnings(of: Evidence) -> tuple[str, ...]:
    """Why the members are worth nothing as an ensemble, a line each; () where nothing speaks against them.

    Of no member there is nothing to say.
    """
    if not of.n_members:
        return ()
    found = []
    n_directions = min(of.n_latent, of.n_data)
    is_small = of.is_smoother and DIRECTIONS_MOST * (of.n_members - 1) < n_directions
    more = f"ask for {max(n_directions, 10)} members or more"
    if of.spread is not None and of.spread < SPREAD_LEAST:
        cause = (
            more if of.is_smoother else "look at the observations' errors, and whether the members began from one point"
        )
        found.append(
            f"the members have collapsed: their spread is {of.spread:.2g} of the prior's, below {SPREAD_LEAST:g}, and "
            f"says nothing of what is not known; {cause}"
        )
    if of.misfit is not None and of.misfit > (most := misfit_most(of.n_members)):
        found.append(
            f"the members miss the data: their mean is {of.misfit:.3g} times as far off as their spread and the errors "
            f"explain, and {most:.3g} times is rare; {more if of.is_smoother else 'allow more iterations'}, or see "
            "whether the errors are too small"
        )
    if is_small:
        found.append(
            f"too few members: {of.n_members} move in {of.n_members - 1} of the {n_directions} directions that "
            f"{of.n_data} data may tell apart in {of.n_latent} latents; {more}"
        )
    return tuple(found)
