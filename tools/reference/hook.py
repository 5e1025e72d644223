"""mkdocs' hook: adds the generated pages, and turns links of the repository into links of the site.

A page is written once. What a table of options, parameters, settings or routes says is in the code, so the page is made
of the code at each build. README.md is the first page, and reports/*.md are pages as they lie in the repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tools.reference import api, case_file, commands, http, params, settings

ROOT = Path(__file__).parents[2]
# Pages that lie outside docs/, by where the site has them.
OUTSIDE = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
GENERATED = {
    "reference/cli.md": commands.page,
    "reference/params.md": params.page,
    "reference/case.md": case_file.page,
    "reference/settings.md": settings.page,
    "reference/http.md": http.page,
}
API = "Python API"
_LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s]+)(\))")
_log = get_plugin_logger("reference")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the Python API, one a package, under their name in the navigation."""
    _replace(config.nav, {api.title(path): path for path in api.pages(ROOT)})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every page that docs/ does not have, and report what has no docstring."""
    for place, text in _texts():
        files.append(File.generated(config, place, content=text))
    for path in sorted((ROOT / "reports").rglob("*.csv")):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for name in api.undocumented(ROOT):
        _log.warning(f"{name}: has no docstring; say in a sentence what it is")
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links as the site has them."""
    place = page.file.src_uri
    if place == "index.md":
        # It has no neighbours in the navigation.
        page.meta["hide"] = ["navigation"]
    origin = OUTSIDE.get(place, place if place.startswith("reports/") else f"docs/{place}")
    return _LINK.sub(lambda link: link[1] + _to_site(link[2], origin, place) + link[3], markdown)


def _texts() -> Iterator[tuple[str, str]]:
    for place, name in OUTSIDE.items():
        yield place, (ROOT / name).read_text(encoding="utf-8")
    for path in sorted((ROOT / "reports").glob("*.md")):
        yield f"reports/{path.name}", path.read_text(encoding="utf-8")
    for place, page in GENERATED.items():
        yield place, page(ROOT)
    yield from api.pages(ROOT).items()


def _to_site(link: str, origin: str, place: str) -> str:
    """A link of the file `origin` of the repository as one of the page `place` of the site."""
    target, mark, anchor = link.partition("#")
    if not target or "://" in target or target.startswith("mailto:"):
        return link
    whole = normpath(join(dirname(origin), target))
    pages = {name: page for page, name in OUTSIDE.items()}
    return relpath(pages.get(whole, whole.removeprefix("docs/")), dirname(place) or ".") + mark + anchor


def _replace(nav: Any, pages: dict[str, str]) -> None:
    for entry in nav:
        for name, value in entry.items() if isinstance(entry, dict) else ():
            if name == API:
                entry[name] = [*value, *({title: path} for title, path in pages.items())]
            elif isinstance(value, list):
                _replace(value, pages)
