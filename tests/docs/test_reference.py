"""Pages made of the code have all that the code has."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from rockbank.flow.casefile.file import CaseFile
from rockbank.matching.io.case_file import MatchingSection
from rockbank.params import GeneratorParams, Params
from serving.base.settings import PREFIX, Settings
from tests.docs.blocks import ROOT
from tools.reference import api, case_file, commands, http, params, settings
from tools.reference.hook import on_page_markdown
from tools.reference.tables import attributes, table


def test_every_setting_stands_with_what_is_said_of_it() -> None:
    page = settings.page(ROOT)
    for name, field in Settings.model_fields.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{PREFIX}{name.upper()}` |")]
        assert (field.description or "").partition("[")[0].replace("|", "\\|") in row


def test_every_section_and_key_of_the_params_stands_with_its_value_and_comment() -> None:
    page = params.page(ROOT)
    assert all(f"## {field.name}\n" in page for field in fields(Params))
    assert all(f"| `{field.name}` |" in page for field in fields(GeneratorParams))
    assert "| `size` | whole number | pixels a side of a crop, a multiple of 16 | `64` |" in page


def test_a_comment_is_that_beside_a_key_or_else_above_it() -> None:
    text = "# of the file\n\n# above\none:  # beside\n  two: 2    # inner\n# what\n# three is\nthree: 3\n"
    assert params.comments_of(text) == {("one",): "beside", ("one", "two"): "inner", ("three",): "what three is"}


def test_every_command_stands_with_its_options() -> None:
    page = commands.page(ROOT)
    for command in ("data add", "drift", "models", "promote", "sample", "simulate", "match", "match resume", "serve"):
        assert f"## rockbank {command}\n" in page
    assert "| `--specific-surface <P|LOW..HIGH>`" not in page
    assert "rockbank match [OPTIONS] [CASE]" in page
    # What this machine has is no default.
    assert "`--workers" in page
    assert [line for line in page.splitlines() if line.startswith("| `--workers") and "|  |" not in line] == []


def test_every_section_of_a_case_file_stands_with_its_keys() -> None:
    page = case_file.page(ROOT)
    kinds = {"": CaseFile, "matching": MatchingSection}
    found = [name for root, kind in kinds.items() for name, _ in case_file.sections(kind, root)]
    assert len(found) == len(set(found)) > 20
    assert all(f"| `{field.name}` |" in page for field in (*fields(CaseFile), *fields(MatchingSection)))
    assert "| `permeability` | permeability | required | its geometric mean, m^2. |" in page


def test_every_path_of_the_service_stands() -> None:
    page = http.page(ROOT)
    document = http.openapi()
    assert all(f" {path}\n" in page for path in document["paths"])
    assert all(f"### {name}\n" in page for name in document["components"]["schemas"])


def test_every_module_stands_once() -> None:
    named = [line[4:] for page in api.pages(ROOT).values() for line in page.splitlines() if line.startswith("::: ")]
    assert len(named) == len(set(named)) > 200
    assert {"rockbank.params", "rockbank.flow.simulate", "serving.app"} <= set(named)


def test_a_public_name_without_a_docstring_is_found(tmp_path: Path) -> None:
    (tmp_path / "src" / "rockbank").mkdir(parents=True)
    text = '"""A module."""\n\nclass A:\n    def b(self): ...\n    def _c(self): ...\n\ndef d():\n    """Said."""\n'
    (tmp_path / "src" / "rockbank" / "one.py").write_text(text)
    assert list(api.undocumented(tmp_path)) == ["rockbank.one.A", "rockbank.one.A.b"]
    assert list(api.undocumented(ROOT)) == []


def test_attributes_are_read_over_several_lines() -> None:
    doc = """What.

    Attributes:
        one, two: both
            of them.
        three: alone.

    More.
    """
    assert attributes(doc) == {"one": "both of them.", "two": "both of them.", "three": "alone."}


def test_a_cell_breaks_no_row() -> None:
    assert table(["a"], [["one|two\nthree"]]) == "| a |\n| --- |\n| one\\|two three |\n"


@pytest.mark.parametrize(
    ("place", "link", "on_the_site"),
    [
        ("index.md", "docs/pictures/head.png", "pictures/head.png"),
        ("index.md", "reports/soak.md", "reports/soak.md"),
        ("index.md", "CONTRIBUTING.md", "contributing.md"),
        ("reports/deepflow.md", "../docs/pictures/a.png", "../pictures/a.png"),
        ("tutorials/train.md", "../guides/dvc.md#a", "../guides/dvc.md#a"),
        ("tutorials/train.md", "../../reports/gpu.md", "../reports/gpu.md"),
        ("tutorials/train.md", "https://arxiv.org/abs/1905.05749", "https://arxiv.org/abs/1905.05749"),
        ("architecture.md", "#rooms", "#rooms"),
    ],
)
def test_a_link_of_the_repository_is_one_of_the_site(place: str, link: str, on_the_site: str) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri=place), meta={})
    markdown = on_page_markdown(f"[text]({link})", page, None, None)  # type: ignore[arg-type]
    assert markdown == f"[text]({on_the_site})"
