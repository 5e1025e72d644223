"""Great Expectations on a data set: what it must be before a generator may learn from it.

Three tables, each with its suite: the crops (one row each), the set (one row) and the raw volumes (one row each,
where there are any). A critical expectation that fails stops the pipeline; a warning is reported.
"""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Shaped

from rockbank.core.files import replacing_folder
from rockbank.data.checks.rules import Rule, crop_rules, set_rules, spell, spell_some, volume_rules
from rockbank.data.checks.tables import crop_table, set_table, volume_table
from rockbank.data.stored import Volume
from rockbank.params import CheckParams
from rockbank.rock.crops import CropSet


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What the expectations said of one data set.

    Attributes:
        critical: reasons for which nothing may be trained on it.
        warnings: reasons to look at it.
        validations: Great Expectations' results by table, which `write_report` renders.
    """

    critical: tuple[str, ...]
    warnings: tuple[str, ...]
    validations: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """Whether training may go on: nothing critical failed."""
        return not self.critical

    def to_json(self) -> dict[str, Any]:
        """Verdict, reasons and full results as JSON takes them; equal data sets give equal values."""
        return {
            "passed": self.passed,
            "critical": list(self.critical),
            "warnings": list(self.warnings),
            "tables": {name: _timeless(each) for name, each in self.validations.items()},
        }


def check_crops(
    crop_set: CropSet,
    volumes: Mapping[str, Volume] | Mapping[str, Shaped[np.ndarray, "slices rows columns"]] | None,
    params: CheckParams,
) -> CheckResult:
    """Hold a data set against its limits.

    Args:
        crop_set: crops for training, validation and test.
        volumes: the raw volumes that they were cut from, by name; None for a synthetic model.
        params: the limits.
    """
    is_scan = volumes is not None
    crops = crop_table(crop_set)
    tables = {"crops": crops, "set": set_table(crop_set, crops, is_scan=is_scan)}
    suites = {"crops": crop_rules(params), "set": set_rules(params, is_scan=is_scan)}
    if volumes is not None:
        tables["volumes"] = volume_table(volumes, crop_set.voxel_size)
        suites["volumes"] = volume_rules()
    reasons: dict[str, list[str]] = {"critical": [], "warning": []}
    with _great_expectations() as gx:
        validations = {name: _validate(gx, name, table, suites[name]) for name, table in tables.items()}
    for name, rules in suites.items():
        for rule, outcome in zip(rules, validations[name].results, strict=True):
            if not outcome.success:
                reasons[rule.severity].append(_reason(rule, outcome))
    return CheckResult(critical=tuple(reasons["critical"]), warnings=tuple(reasons["warning"]), validations=validations)


def write_report(result: CheckResult, folder: Path) -> None:
    """Write the Data Docs, index.html and a page a table, into `folder`, all or nothing.

    The pages need no network and no other file.
    """
    with replacing_folder(folder) as beside, _great_expectations() as gx:
        for name, validation in result.validations.items():
            document = gx.renderer.ValidationResultsPageRenderer().render(validation)
            page = gx.view.DefaultJinjaPageView().render(document)
            (beside / f"{name}.html").write_text(_self_contained(page), encoding="utf-8")
        (beside / "index.html").write_text(_index(result), encoding="utf-8")


def _reason(rule: Rule, outcome: Any) -> str:
    """What is wrong, the value got, the limit and what to do, in one line."""
    found = outcome.result
    if outcome.exception_info.get("raised_exception"):
        return f"{rule.what}: could not be checked ({outcome.exception_info.get('exception_message')}); {rule.remedy}"
    if "observed_value" in found:
        return rule.reason(spell(found["observed_value"]))
    return rule.reason(spell_some(found["unexpected_count"], found["element_count"], found["partial_unexpected_list"]))


@dataclass(frozen=True)
class _Door:
    """The parts of Great Expectations that are used."""

    core: Any
    expectations: Any
    renderer: Any
    view: Any


@contextmanager
def _great_expectations() -> Iterator[_Door]:
    """Great Expectations, imported only where it is used: the import takes seconds."""
    with warnings.catch_warnings():
        # Its import of the standard library's sre_constants and sre_parse is deprecated; that is its own affair.
        warnings.filterwarnings("ignore", r"module 'sre_\w+' is deprecated", DeprecationWarning)
        import great_expectations as core
        import great_expectations.expectations as expectations
        from great_expectations.render import renderer, view

        yield _Door(core, expectations, renderer, view)


def _validate(gx: _Door, name: str, table: pd.DataFrame, rules: Sequence[Rule]) -> Any:
    """Great Expectations' result for one table: an ephemeral context, no analytics, no progress bars."""
    context = gx.core.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_pandas("rockbank")
    definition = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
    suite = gx.core.ExpectationSuite(
        name=name,
        expectations=[
            getattr(gx.expectations, rule.kind)(
                **rule.arguments, severity=rule.severity, notes=f"Otherwise {rule.what}: {rule.remedy}."
            )
            for rule in rules
        ],
    )
    batch = definition.get_batch(batch_parameters={"dataframe": table})
    validation = batch.validate(suite, result_format="SUMMARY")
    for outcome in validation.results:
        # Its renderer spells numbers by repr, and that of NumPy's own types is "np.float64(0.1)" since NumPy 2.
        outcome.result.update(
            {key: each.item() for key, each in outcome.result.items() if isinstance(each, np.generic)}
        )
    # The time of the run would change the hash of the stage's output.
    validation.meta.pop("batch_markers", None)
    return validation


def _timeless(validation: Any) -> dict[str, Any]:
    """A result without what only names its run."""
    found = validation.to_json_dict()
    return {"results": found["results"], "statistics": found["statistics"], "success": found["success"]}


# The renderer's page takes its looks from content delivery networks; offline these few rules stand in.
_STYLE = """
body { font-family: sans-serif; margin: 1em 2em; } .row { display: flex; flex-wrap: wrap; gap: 1em; }
table { border-collapse: collapse; } td, th { border: 1px solid #ccc; padding: .3em .6em; text-align: left; }
.modal, .navbar, .footer, footer, .ge-navigation-sidebar-container { display: none; }
.fa-check-circle::before { content: "ok"; color: #080; } .fa-times::before { content: "FAILED"; color: #b00; }
"""


_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def _self_contained(page: str) -> str:
    page = re.sub(r"<script\b.*?</script>|<link\b[^>]*>", "", page, flags=re.DOTALL)
    page = re.sub(r'<img\b[^>]*src="https?:[^>]*>', "", page)
    page = re.sub(r"<footer\b.*?</footer>", "", page, flags=re.DOTALL)
    page = re.sub(r"url\(\s*['\"]?https?:[^)]*\)", "none", page)
    # Random identifiers in the order of their appearance, so that equal results give equal pages.
    names: dict[str, str] = {}
    page = re.sub(_UUID, lambda match: names.setdefault(match[0], f"part-{len(names)}"), page)
    return page.replace("</head>", f"<style>{_STYLE}</style></head>", 1)


def _index(result: CheckResult) -> str:
    def listing(title: str, reasons: Sequence[str]) -> str:
        items = "".join(f"<li>{html.escape(reason)}</li>" for reason in reasons) or "<li>none</li>"
        return f"<h2>{title}</h2><ul>{items}</ul>"

    pages = "".join(f'<li><a href="{name}.html">{name}</a></li>' for name in result.validations)
    verdict = "passed" if result.passed else "refused"
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>data check: {verdict}</title>'
        f"<style>{_STYLE}</style></head><body><h1>Data check: {verdict}</h1>{listing('Critical', result.critical)}"
        f"{listing('Warnings', result.warnings)}<h2>Tables</h2><ul>{pages}</ul></body></html>\n"
    )
