"""The site is built without a warning, fits a phone, is silent in the console, and loads nothing from other hosts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import ROOT
from tools.browser import CHROMEDRIVER, CHROMIUM, Pages, pages

WIDE, NARROW, HEIGHT = 1280, 400, 900
INDEX = "search/search_index.json"
# What a page has loaded, what of it is no picture, and how far it sticks out of the window.
LOADED = "return performance.getEntriesByType('resource').map(entry => entry.name)"
BROKEN = "return [...document.images].filter(each => !each.complete || !each.naturalWidth).map(each => each.src)"
WIDTHS = """
const done = arguments[0], root = document.documentElement
requestAnimationFrame(() => requestAnimationFrame(() =>
    done([root.scrollWidth, document.body.scrollWidth, window.innerWidth])))
"""
# Drawers that move after a change of the width would be measured on their way.
STILL = """
document.addEventListener("DOMContentLoaded", () => {
    const style = document.createElement("style")
    style.textContent = "* { transition: none !important; animation: none !important }"
    document.head.append(style)
})
"""

pytestmark = pytest.mark.slow


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder, without a log.

    The index of the search, which is the same file for all, comes whole to the first page that loads it and without
    entries to the others: what a page's script makes of it takes longer than the page.
    """

    def __init__(self, *arguments: Any, whole: list[str], **keywords: Any) -> None:
        self._whole = whole
        super().__init__(*arguments, **keywords)

    def do_GET(self) -> None:
        """The file, or that index."""
        if not self.path.endswith(INDEX):
            return super().do_GET()
        index = json.loads((Path(self.directory) / INDEX).read_bytes())
        if self._whole:
            index["docs"] = []
        else:
            self._whole.append(self.path)
        body = json.dumps(index).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it; a dead link, or a name without a docstring, is a warning, and so an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture
def whole() -> list[str]:
    """The requests that the whole index of the search answered."""
    return []


@pytest.fixture
def address(site: Path, whole: list[str]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site), whole=whole)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def names(site: Path) -> list[str]:
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


def test_every_kind_of_page_is_there(site: Path) -> None:
    found = set(names(site))
    assert {f"reference/{name}.html" for name in ("cli", "params", "case", "settings", "http")} <= found
    assert {f"reports/{path.stem}.html" for path in (ROOT / "reports").glob("*.md")} <= found
    assert {"index.html", "contributing.html", "reference/python/rockbank.flow.html"} <= found
    assert (site / INDEX).is_file()


def test_no_page_names_another_host_in_what_it_loads(site: Path) -> None:
    loads = re.compile(r"<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)")
    found = {f"{name}: {url}" for name in names(site) for url in loads.findall((site / name).read_text("utf-8"))}
    # The address of a page itself is told to search engines, and not loaded.
    assert found == set()


def faults(window: Pages, name: str) -> list[str]:
    """What is wrong with a page, at both widths."""
    found = []
    for width in (WIDE, NARROW):
        # A window has a least width, which a screen has not.
        screen = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        window.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        if width == WIDE:
            window.browser.get(f"{window.address}/{name}")
        *wide, inner = window.browser.execute_async_script(WIDTHS)
        assert inner == width
        if max(wide) > inner:
            found.append(f"{name}: {max(wide)} pixels wide in a window of {inner}")
    found += [f"{name}: no picture at {url}" for url in window.browser.execute_script(BROKEN)]
    loaded = window.browser.execute_script(LOADED)
    found += [f"{name}: loads {url}" for url in loaded if not url.startswith(window.address)]
    return found + [f"{name}: {line}" for line in window.console()]


@pytest.mark.skipif(
    CHROMIUM is None or CHROMEDRIVER is None,
    reason="no Chromium with its driver here; apt install chromium chromium-driver",
)
def test_every_page_fits_and_is_silent_and_loads_from_its_own_host_alone(
    site: Path, address: str, whole: list[str]
) -> None:
    with pages(address, (WIDE, HEIGHT)) as window:
        window.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": STILL})
        assert [fault for name in names(site) for fault in faults(window, name)] == []
    assert len(whole) == 1
