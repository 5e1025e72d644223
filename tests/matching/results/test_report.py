"""The page of a match: whole, on its own, and harmless whatever the names in it."""

import base64
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rockbank.matching.results.plots.figures import PICTURES
from rockbank.matching.results.report import headline, to_html, write_report
from rockbank.matching.results.summary import summary
from rockbank.plot.figures import to_png
from tests.matching.synthetic import DAY, matched

EVIL = "<b onload='x'>&\"W$1"
# Of runs that match other parameters than a generator's section (tests/matching/problem/test_parameterisations.py).
OF_PARAMETERS = {"permeability", "members", "parameters"}
# Of runs with observations of cells (tests/matching/test_cell_observations.py).
OF_CELLS = {"pressures", "saturation"}
OWN = [picture for picture in PICTURES if picture.name not in OF_PARAMETERS | OF_CELLS]
ALL = {picture.name for picture in OWN}
# Which pictures a run that lacks something cannot have.
LOST: dict[str, tuple[dict[str, Any], set[str]]] = {
    "observations": ({"has_observations": False}, set()),
    "facies": ({"has_facies": False}, {"wells"}),
    "truth": ({"has_truth": False}, set()),
    "truth and observations": ({"has_truth": False, "has_observations": False}, {"calibration"}),
    "forecast": ({"history": 1000 * DAY}, set()),
    "posterior": (
        {"ensembles": ("prior",), "n_iterations": 0},
        {"losses", "iterations", "evolution", "interpolation"},
    ),
    "other members": ({"n_members": 1}, {"interpolation"}),
    "successes": (
        {"n_members": 3, "failed": (0, 1, 2), "has_segments": False},
        ALL - {"evolution"},
    ),
}


class Page(HTMLParser):
    """Tags that are open, pictures, and all text."""

    def __init__(self, html: str) -> None:
        """Reads it at once."""
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Void elements stay not open."""
        if tag == "img":
            self.images.append(dict(attrs))
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Closes the innermost."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text, its escapes undone."""
        self.text += data


@pytest.fixture(autouse=True)
def _figures_are_not_kept() -> Iterator[None]:
    """No picture goes by pyplot, whose figures stay in memory."""
    yield
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


@pytest.mark.slow
def test_report_is_one_whole_page_with_every_picture(tmp_path: Path) -> None:
    dataset = matched(n_members=8, failed=[3])
    dataset.attrs |= {"title": EVIL, "generator": EVIL}
    dataset["reason"][3] = EVIL
    dataset.coords["well"] = [EVIL, "PROD"]
    dataset["observation_well"] = dataset.observation_well.where(dataset.observation_well != "INJ", EVIL)
    path = write_report(tmp_path / "run", dataset)
    assert [each.name for each in (tmp_path / "run").iterdir()] == ["report.html"]
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    assert html.rstrip().endswith("</html>")
    assert len(page.images) == len(OWN)
    for image in page.images:
        source = image["src"] or ""
        assert source.startswith("data:image/png;base64,")
        Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))).verify()
    assert {picture.title for picture in OWN} == {image["alt"] for image in page.images}
    without_pictures = re.sub(r"base64,[^\"]*", "", html)
    assert not re.search(r"https?:|<script|<link|<iframe|url\(", without_pictures)
    assert "<b onload" not in without_pictures
    assert page.text.count(EVIL) == 4  # the title twice, the generator, the reason
    assert "1 failed" in page.text


@pytest.mark.parametrize("lack", LOST)
def test_only_pictures_of_what_a_run_lacks_are_missing(lack: str) -> None:
    options, lost = LOST[lack]
    dataset = matched(**{"n_members": 4, **options})
    drawn = {picture.name for picture in PICTURES if picture.draw(dataset) is not None}
    assert ALL - drawn == lost


def test_report_of_a_run_of_failures_alone_says_so() -> None:
    dataset = matched(n_members=2, failed=[0, 1], has_facies=False, has_segments=False, n_iterations=0)
    page = Page(to_html(dataset))
    assert "Of 2 members, 0 ended and 2 failed. There is nothing to show." in page.text
    assert page.text.count("the pressure does not converge <here & now>") == 2


def test_title_that_is_absent_is_said_to_be() -> None:
    dataset = matched(n_members=1, failed=[0], has_facies=False, n_iterations=0)
    dataset.attrs = {"settings": "no JSON"}
    page = Page(to_html(dataset))
    assert "a case without a title" in page.text
    assert "no JSON" in page.text


def test_headline_tells_the_numbers_of_the_summary() -> None:
    numbers = summary(matched(n_members=8, failed=[3]))
    text = headline(numbers)
    mine = numbers["ensembles"]["posterior"]
    for number in (f"{mine['time_mean'][1]:.3g}", f"{100 * mine['accuracy']:.3g} %", f"{mine['norm_squared'][1]:.3g}"):
        assert number in text
    assert "Of 8 members, 7 ended and 1 failed." in text


def test_headline_is_silent_about_what_is_not_known() -> None:
    text = headline(summary(matched(n_members=1, has_truth=False, has_facies=False, has_observations=False)))
    assert text.startswith("The one member ended. There are no observations")
    assert "truth" not in text
    assert "wells" not in text


def test_headline_counts_members_that_still_run_or_reached_their_limit() -> None:
    dataset = matched(n_members=5, failed=[3])
    dataset["status"][0] = "running"
    assert headline(summary(dataset)).startswith("Of 5 members, 3 ended, 1 is still running and 1 failed. The")
    dataset = matched(n_members=5)
    dataset["status"][[1, 4]] = "max_iterations_reached"
    assert headline(summary(dataset)).startswith("All 5 members ended. 2 members reached their iteration limit. The")
    dataset.attrs |= {"max_iterations": 1, "iteration": "Jacobian"}
    assert "2 members reached their iteration limit of 1 Jacobian." in headline(summary(dataset))


@pytest.mark.parametrize("shape", [(1, 30), (6, 12)])
def test_pictures_are_drawn_of_small_grids(shape: tuple[int, int]) -> None:
    dataset = matched(n_members=4, has_facies=False).isel(y=slice(0, shape[0]), x=slice(0, shape[1]))
    is_inside = (dataset.perforation_i < shape[1]) & (dataset.perforation_j < shape[0])
    dataset = dataset.isel(perforation=is_inside.values)
    dataset["truth_facies"][:] = 1.0
    for picture in PICTURES:
        if picture.name in ("facies", "sections"):
            figure = picture.draw(dataset)
            assert figure is not None
            assert to_png(figure).startswith(b"\x89PNG")
