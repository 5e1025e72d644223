"""The pictures of a match, in the order in which its report shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import xarray as xr

from rockbank.matching.results.plots.curves import draw_fans, draw_iterations, draw_losses
from rockbank.matching.results.plots.fields import draw_members, draw_numbers, draw_permeability
from rockbank.matching.results.plots.maps import (
    draw_evolution,
    draw_facies_maps,
    draw_interpolation,
    draw_sections,
    draw_wells,
)
from rockbank.matching.results.plots.pressures import draw_pressures
from rockbank.matching.results.plots.saturation import draw_saturation_maps
from rockbank.matching.results.plots.spread import draw_calibration, draw_loss_histograms, draw_norms

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture.

    Attributes:
        name: of a file of it.
        title: above it.
        caption: how to read it, in a sentence.
        draw: the figure of a dataset; None where the dataset lacks what it shows.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[xr.Dataset], Figure | None]


PICTURES = (
    Picture(
        name="fans",
        title="Curves at the wells",
        caption="A good match has the blue band (the posterior's P10 to P90) follow the orange observations up to the "
        "dotted line, and widen beyond it around the black truth, where that is known; grey is the prior, which the "
        "axis may cut.",
        draw=draw_fans,
    ),
    Picture(
        name="pressures",
        title="Pressures at depths of wells",
        caption="The blue lines (posterior) should cross the orange observations within their errors; grey is the "
        "prior. A pressure that was measured away from the middle of its cell is shown as at the cell's centre.",
        draw=draw_pressures,
    ),
    Picture(
        name="saturation",
        title="Observed maps, and what the members show there",
        caption="A good match has the posterior's mean look like the observed map, noise apart; where the prior's mean "
        "does so too the survey says nothing new, and blank cells were not observed.",
        draw=draw_saturation_maps,
    ),
    Picture(
        name="facies",
        title="Where sand is likely, and where that is unknown",
        caption="The mean shows where members agree on sand (yellow) or shale (grey), the deviation where they do not "
        "(bright); thin outlines are the truth's sand, the white line is an injector, the broken one a producer.",
        draw=draw_facies_maps,
    ),
    Picture(
        name="permeability",
        title="Permeability, and where it is unknown",
        caption="Where the posterior's mean is nearer to the truth than the prior's, and its deviation smaller, the "
        "data say something; triangles that point up are injectors, those that point down producers.",
        draw=draw_permeability,
    ),
    Picture(
        name="members",
        title="The best, the median and the worst member",
        caption="Each member as sampled from the prior, and below as matched: what they have in common the data "
        "ask for, where they differ the data say nothing.",
        draw=draw_members,
    ),
    Picture(
        name="parameters",
        title="Parameters",
        caption="A posterior (blue) narrower than the prior (grey) is what the data say of a parameter; one at the "
        "prior's edge asks for a wider prior, or for another parameter.",
        draw=draw_numbers,
    ),
    Picture(
        name="sections",
        title="Members from the best to the worst",
        caption="Members in the order of their total loss, each as sampled from the prior and, beside it, as matched: "
        "the matched ones should still look like geology, and differ where the data say nothing.",
        draw=draw_sections,
    ),
    Picture(
        name="wells",
        title="Facies at the wells",
        caption="Above, how much of the wells' facies each member has right (all the way right is all of it); below, "
        "the facies that were seen, and beside them one narrow column for each member, which should look the same.",
        draw=draw_wells,
    ),
    Picture(
        name="loss_histograms",
        title="Losses",
        caption="The further the blue histogram (posterior) lies to the left of the grey one (prior), the more the "
        "match has gained; J, the published mean over time, is at most about a quarter of the number of observed "
        "curves where only noise is left.",
        draw=draw_loss_histograms,
    ),
    Picture(
        name="losses",
        title="Loss against cost",
        caption="Each line is a member; a steep fall is a cheap match, and lines that level off above the dashed "
        "threshold are stuck.",
        draw=draw_losses,
    ),
    Picture(
        name="iterations",
        title="Iterations to the thresholds",
        caption="Bars far left are members that matched quickly; members that never reach a threshold are in the title "
        "only.",
        draw=draw_iterations,
    ),
    Picture(
        name="evolution",
        title="One member, iterate by iterate",
        caption="Read row by row from the start to the end: what stops changing early is what the data settle first.",
        draw=draw_evolution,
    ),
    Picture(
        name="interpolation",
        title="Between solutions",
        caption="On the great circle from one solution to the next the loss shows whether they lie in one valley (it "
        "stays low) or in several (it rises between them); the sections are those between.",
        draw=draw_interpolation,
    ),
    Picture(
        name="calibration",
        title="Is the uncertainty honest?",
        caption="Bars near the dashed line and flat rank histograms are honest; a rank histogram like a U is too sure "
        "of itself, one like a hill not sure enough, and times of one curve depend on each other, so few curves make "
        "uneven histograms.",
        draw=draw_calibration,
    ),
    Picture(
        name="norms",
        title="Are the latents typical?",
        caption="Samples spread as the black line does; a heap far left of it is the mean of many images rather than a "
        "sample of them, one far right is an image that the generator hardly makes.",
        draw=draw_norms,
    ),
)
