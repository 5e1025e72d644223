"""The report of a match: one page of HTML that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from rockbank.core import html
from rockbank.core.files import write_text
from rockbank.core.html import Facts, Figure, Table
from rockbank.matching.methods.status import MAX_ITERATIONS_REACHED, status_in_words
from rockbank.matching.results.diagnostics import TIME_MEAN_THRESHOLD
from rockbank.matching.results.plots.figures import PICTURES
from rockbank.matching.results.plots.style import to_text
from rockbank.matching.results.summary import summary
from rockbank.plot.figures import to_png

REPORT = "report.html"


def write_report(folder: Path, dataset: xr.Dataset) -> Path:
    """Write report.html into `folder`, whole or not at all.

    Returns:
        Where it is.
    """
    path = folder / REPORT
    write_text(path, to_html(dataset))
    return path


def to_html(dataset: xr.Dataset) -> str:
    """The page: what came of it in words and in a table, the pictures, and where it all comes from."""
    numbers = summary(dataset)
    sections = [_table(numbers), *_failures(numbers["reasons"]), *_figures(dataset), *_provenance(dataset.attrs)]
    title = str(dataset.attrs.get("title", "")) or "a case without a title"
    return html.to_html(f"History match: {title}", headline(numbers), sections, warnings=numbers["warnings"])


def headline(numbers: Mapping[str, Any]) -> str:
    """What came of it, in a few sentences, of `diagnostics.summary`."""
    name, mine = list(numbers["ensembles"].items())[-1]
    prior = numbers["ensembles"].get("prior", mine)
    says = [_how_many(numbers)]
    if not mine["members"]:
        return says[0] + " There is nothing to show."
    if mine["time_mean"] is not None:
        was = (
            f", where the prior has {to_text(prior['time_mean'][1])}" if name != "prior" and prior["time_mean"] else ""
        )
        says.append(f"The {name} fits the observations with a median J of {to_text(mine['time_mean'][1])}{was}; "
                    f"{_percent(mine['is_time_mean_reached'])} of its members have a J of {TIME_MEAN_THRESHOLD:g} "
                    "or less.")  # fmt: skip
    else:
        others = "" if mine["accuracy"] is None else " and the wells' facies"
        says.append(f"There are no observations, so nothing but the prior{others} shapes the members.")
    if mine["accuracy"] is not None:
        says.append(f"At the wells {_percent(mine['accuracy'])} of the facies are right.")
    if mine["connected_dilated"] is not None:
        truth = numbers["truth"]["connected_dilated"]
        of_truth = "" if truth is None else "; so it does in the truth" if truth else "; in the truth it does not"
        says.append(f"With gaps of up to two cells closed, sand connects injector and producer in "
                    f"{_percent(mine['connected_dilated'])} of the members{of_truth}.")  # fmt: skip
    if mine["coverage_forecast"] is not None:
        says.append(f"The forecast's P10 to P90 hold the truth at {_percent(mine['coverage_forecast'])} of the times, "
                    f"where {_percent(mine['expected_coverage'])} are to be expected.")  # fmt: skip
    says.append(f"The median |z|² is {to_text(mine['norm_squared'][1])}; draws of the prior have "
                f"{numbers['n_latent']} in the mean.")  # fmt: skip
    return " ".join(says)


def _how_many(numbers: Mapping[str, Any]) -> str:
    n_members, failed, running = (numbers[name] for name in ("members", "failed", "running"))
    limited, n_limited = "", numbers["max_iterations_reached"]
    if n_limited:
        limit = f" of {numbers['limit']}" if numbers["limit"] else ""
        limited = f" {_members(n_limited)} {status_in_words(MAX_ITERATIONS_REACHED, n_limited)}{limit}."
    if not failed and not running:
        all_of_them = {1: "The one member ended.", 2: "Both members ended."}.get(
            n_members, f"All {n_members} members ended."
        )
        return all_of_them + limited
    unfinished = f", {running} {'is' if running == 1 else 'are'} still running" if running else ""
    return f"Of {_members(n_members)}, {numbers['done']} ended{unfinished} and {failed} failed.{limited}"


def _table(numbers: Mapping[str, Any]) -> Table:
    by_name = numbers["ensembles"]
    truth = numbers["truth"]
    rows: list[tuple[str, Callable[[Mapping[str, Any]], str], str]] = [
        ("members", lambda mine: str(mine["members"]), ""),
        ("total loss", lambda mine: _levels(mine["loss"]), ""),
        ("J", lambda mine: _levels(mine["time_mean"]), ""),
        (f"members with J ≤ {TIME_MEAN_THRESHOLD:g}", lambda mine: _percent(mine["is_time_mean_reached"]), ""),
        ("facies right at the wells", lambda mine: _percent(mine["accuracy"]), ""),
        ("injector and producer connected", lambda mine: _percent(mine["connected"]), _yes(truth["connected"])),
        (
            "connected after one dilation",
            lambda mine: _percent(mine["connected_dilated"]),
            _yes(truth["connected_dilated"]),
        ),
        (
            "oil produced, m³",
            lambda mine: _levels(mine["oil_produced"]),
            _levels(None if truth["oil_produced"] is None else [truth["oil_produced"]]),
        ),
        ("forecast's truth within P10–P90", lambda mine: _percent(mine["coverage_forecast"]), ""),
        ("observations in the middle 80 % of ranks", lambda mine: _percent(mine["coverage_observations"]), ""),
        ("|z|²", lambda mine: _levels(mine["norm_squared"]), ""),
        ("spread of the latents, the prior's is 1", lambda mine: _number(mine["spread"]), ""),
        ("misfit of the mean, 1 is expected", lambda mine: _number(mine["misfit"]), ""),
    ]
    named = [key for key in next(iter(by_name.values()), {}) if key.startswith("parameter ")]
    rows += [(key.removeprefix("parameter "), _of_key(_levels, key), "") for key in named]
    apart = [key for key in next(iter(by_name.values()), {}) if key.startswith("spread of ")]
    rows += [(f"{key}, the prior's is 1", _of_key(_number, key), "") for key in apart]
    cells = [(label, *(write(mine) for mine in by_name.values()), of_truth) for label, write, of_truth in rows]
    cells = [row for row in cells if any(value not in ("", "–") for value in row[1:])]
    has_truth = any(row[-1] not in ("", "–") for row in cells)
    shown = cells if has_truth else [row[:-1] for row in cells]
    head = ["", *by_name, *(["truth"] if has_truth else [])]
    n_failed = numbers["failed"]
    note = (f"{_members(numbers['members'])}, {numbers['done']} done, {n_failed} failed. Three numbers are "
            "P10, P50 and P90: what 10, 50 and 90 % of the members lie below.")  # fmt: skip
    return Table(head=head, rows=shown, note=note)


def _of_key(write: Callable[[Any], str], key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda mine: write(mine[key])


def _failures(reasons: Mapping[str, str]) -> Iterator[Table]:
    if reasons:
        rows = [(f"member {member}", reason) for member, reason in reasons.items()]
        yield Table(title="Members that failed", rows=rows, style="reasons")


def _figures(dataset: xr.Dataset) -> Iterator[Figure]:
    for picture in PICTURES:
        figure = picture.draw(dataset)
        if figure is not None:
            yield Figure(name=picture.name, title=picture.title, caption=picture.caption, png=to_png(figure))


def _provenance(attributes: Mapping[str, Any]) -> Iterator[Facts]:
    facts = {
        name.replace("_", " "): _settings(str(value)) if name == "settings" else str(value)
        for name, value in attributes.items()
        if name not in ("title", "Conventions", "conventions") and str(value)
    }
    if facts:
        yield Facts(title="Where it comes from", facts=facts)


def _settings(text: str) -> str:
    """JSON a line to a setting; other text as it is."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return text
    if not isinstance(found, dict):
        return text
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in found.items())


def _members(n: int) -> str:
    return f"{n} member{'' if n == 1 else 's'}"


def _percent(part: float | None) -> str:
    return "–" if part is None else f"{100 * part:.3g} %"


def _levels(levels: list[float] | None) -> str:
    """P10, P50 and P90; once, where they are the same."""
    if levels is None:
        return "–"
    texts = [to_text(level) for level in levels]
    return texts[0] if len(set(texts)) == 1 else " · ".join(texts)


def _number(value: float | None) -> str:
    return "–" if value is None else to_text(value)


def _yes(is_so: bool | None) -> str:
    return "–" if is_so is None else "yes" if is_so else "no"
