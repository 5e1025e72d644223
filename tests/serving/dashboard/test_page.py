"""In Chromium, the status page draws samples on a click, and shows what the registry's people do without a reload."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys as Key

from rockbank.client import Client
from rockbank.mlops import registry
from rockbank.rock.crops import to_bytes
from serving.keys import make_key
from tools.browser import CHROMEDRIVER, CHROMIUM, PAGE_SECONDS, Pages, pages

pytestmark = pytest.mark.slow
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or CHROMEDRIVER is None,
    reason="no Chromium with its driver here; apt install chromium chromium-driver",
)
PICTURE = "document.querySelector('[data-model=shale] .frame img')"


@pytest.fixture
def page(shale: Path, start_process: Callable[..., Any]) -> Iterator[Pages]:
    """The page of a service whose champion is version 1."""
    running = start_process(poll_seconds=0.5, statistics_fraction=1.0)
    with pages(running.url) as found:
        yield found


def until(what: str, holds: Callable[[], Any]) -> Any:
    """What `holds` gives once it is true."""
    end = time.monotonic() + PAGE_SECONDS
    while not (held := holds()):
        assert time.monotonic() < end, f"not in {PAGE_SECONDS} s: {what}"
        time.sleep(0.1)
    return held


def picture(page: Pages) -> tuple[int, int, str]:
    """Width, height and description of the samples on show; the width is 0 until they are drawn."""
    shape = page.browser.execute_script(f"let p = {PICTURE}; return [p.naturalWidth, p.naturalHeight, p.alt]")
    return int(shape[0]), int(shape[1]), str(shape[2])


def press(page: Pages, **fields: str) -> None:
    """Fill the seed box and press Generate."""
    for name, value in fields.items():
        box = page.browser.find_element(By.CSS_SELECTOR, f"[data-model=shale] input[name={name}]")
        box.clear()
        box.send_keys(value)
    page.click("//button[text()='Generate']")


@needs_chromium
def test_it_loads_and_generates_on_a_click_without_an_error(page: Pages) -> None:
    said = page.open("", "shale", "version 1 answers", "No alert holds", "@champion", "16 of shale/1, seed 7")
    assert "d41d8cd98f00b204e9800998ecf8427e.dir" in said
    # 16 samples of 16 pixels in four columns, two pixels between them.
    assert picture(page)[:2] == (4 * 18 - 2, 4 * 18 - 2)
    press(page, seed="12", n="3")
    page.wait("3 of shale/1, seed 12")
    until("the picture of three", lambda: picture(page)[:2] == (3 * 18 - 2, 16))
    assert picture(page)[2] == "Generated rock: 3 of shale/1, seed 12"
    page.click("//button[text()='Next seed']")
    page.wait("3 of shale/1, seed 13")
    assert page.console() == []


@needs_chromium
def test_a_promotion_is_seen_without_a_reload(page: Pages) -> None:
    page.open("", "version 1 answers", "16 of shale/1, seed 7")
    page.browser.execute_script("window.isSamePage = true")
    # What the reader has folded stays folded.
    page.click("//summary[text()='Card of shale/1']")
    registry.set_alias("shale", registry.CHAMPION, "2")
    said = page.wait("version 2 answers", "ready for a rollback", "1 → 2", "16 of shale/2, seed 7")
    assert "shale@champion names it" in said
    assert page.browser.execute_script("return window.isSamePage") is True
    assert page.browser.execute_script("return document.getElementById('card-shale-1').open") is False
    httpx.post(f"{page.address}/v2/models/shale/rollback").raise_for_status()
    page.wait("version 1 answers", "rolled back", "the alias is ahead")
    assert page.console() == []


@needs_chromium
def test_statistics_appear_once_a_window_is_full(page: Pages) -> None:
    page.open("", "shale", "no full window of served samples yet")
    # Samples of seeds that nobody chose.
    httpx.post(f"{page.address}/v2/models/shale/generate", json={"n": 64}).raise_for_status()
    page.wait("last 32 samples served", "porosity", "S2 at lag 4")
    points = page.browser.find_elements(By.CSS_SELECTOR, "svg.chart circle.served")
    assert len(points) == 4
    assert page.console() == []


@needs_chromium
def test_it_works_by_keyboard_on_a_narrow_screen(page: Pages) -> None:
    narrow = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    page.open("", "version 1 answers", "16 of shale/1, seed 7")
    # Nothing has to be scrolled sideways.
    assert page.browser.execute_script("return document.documentElement.scrollWidth") <= 400
    seed = page.browser.find_element(By.NAME, "seed")
    seed.clear()
    seed.send_keys("70", Key.ENTER)
    page.wait("16 of shale/1, seed 70")
    found = page.browser.find_elements(By.CSS_SELECTOR, "input, button, a, summary")
    # The endless image's own controls are hidden where a generator has one size, and a hidden element has no name.
    unnamed = [each.get_attribute("outerHTML") for each in found if each.is_displayed() and not each.accessible_name]
    assert unnamed == []
    assert page.console() == []


@needs_chromium
def test_an_endless_image_is_panned_by_hand_and_by_keyboard_across_a_border_of_tiles(
    shale: Path, generator_folder: Callable[..., Path], start_process: Callable[..., Any]
) -> None:
    registry.push("shale", generator_folder(endless=True, weights_seed=1))
    registry.set_alias("shale", registry.CHAMPION, "3")
    running = start_process(poll_seconds=0.5)
    with pages(running.url) as page:
        page.open("", "version 3 answers", "Any part of an endless image", "16 of shale/3, seed 7")
        canvas = page.find("//section[@class='endless']/canvas")[0]
        # Ten by seven tiles of 32 pixels.
        resize = (
            "arguments[0].style.width = '310px'; arguments[0].style.height = '210px'; arguments[0].scrollIntoView()"
        )
        page.browser.execute_script(resize, canvas)
        until("every tile in view", lambda: canvas.get_attribute("data-missing") == "0")
        np.testing.assert_array_equal(shown(page), part(running.url, 0, 0))
        ActionChains(page.browser).drag_and_drop_by_offset(canvas, -75, 41).perform()
        page.wait("Seed 7, from pixel (75, -41)")
        until("every tile in view", lambda: canvas.get_attribute("data-missing") == "0")
        np.testing.assert_array_equal(shown(page), part(running.url, 75, -41))
        canvas.send_keys(Key.ARROW_LEFT, Key.ARROW_DOWN)
        page.wait("from pixel (11, 23)")
        press(page, seed="12")
        # The seed box has scrolled it out of view, where nothing is drawn.
        page.browser.execute_script("arguments[0].scrollIntoView()", canvas)
        page.wait("Seed 12, from pixel (11, 23)")
        until("every tile in view", lambda: canvas.get_attribute("data-missing") == "0")
        np.testing.assert_array_equal(shown(page), part(running.url, 11, 23, seed=12))
        page.click("//button[text()='Back to the origin']")
        page.wait("from pixel (0, 0)")
        # What Chromium says of this test's own reading of the canvas.
        assert [line for line in page.console() if "getImageData" not in line] == []
        # A version of one size has no such image.
        registry.set_alias("shale", registry.CHAMPION, "2")
        page.wait("version 2 answers")
        until("no endless image", lambda: not canvas.is_displayed())


def shown(page: Pages) -> np.ndarray:
    """Grey values of the canvas."""
    script = """
        const canvas = document.querySelector(".endless canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return [canvas.width, canvas.height, Array.from(data.filter((_, i) => i % 4 === 0))];
    """
    width, height, grey = page.browser.execute_script(script)
    return np.asarray(grey, dtype=np.uint8).reshape(height, width)[:200, :300]


def part(url: str, x: int, y: int, seed: int = 7) -> np.ndarray:
    """The same of the service's window."""
    with Client(url) as client:
        return to_bytes(client.generate("shale", 1, seed, window=(x, y, 300, 200)).array[0, 0])


@needs_chromium
def test_what_the_service_refuses_is_reported_in_its_words(page: Pages) -> None:
    page.open("", "16 of shale/1, seed 7")
    page.browser.execute_script("document.querySelector('input[name=n]').max = 100000")
    press(page, n="20000")
    page.wait("n: got 20000; ask for at most 10000 at once")
    # The one line that Chromium itself writes of a status of 400.
    assert all("400 (Bad Request)" in line for line in page.console())


@needs_chromium
def test_where_keys_are_required_the_page_asks_for_one(
    shale: Path, start_process: Callable[..., Any], tmp_path: Path
) -> None:
    key, line = make_key("somebody")
    (tmp_path / "keys").write_text(line + "\n")
    running = start_process(keys_file=tmp_path / "keys")
    with pages(running.url) as page:
        said = page.open("", "version 1 answers", "This server wants an API key")
        assert "16 of shale/1" not in said
        press(page, key="wrong")
        page.wait("the key is not known")
        page.console()
        press(page, key=key)
        page.wait("16 of shale/1, seed 7")
        assert page.console() == []


@needs_chromium
def test_a_service_that_goes_is_reported_and_what_it_said_stays(shale: Path, start_process: Callable[..., Any]) -> None:
    running = start_process()
    with pages(running.url) as page:
        page.open("", "16 of shale/1, seed 7")
        running.process.terminate()
        page.wait("No answer from the server", "version 1 answers")


def test_the_page_and_its_files_are_served_with_a_policy(shale: Path, start_process: Callable[..., Any]) -> None:
    running = start_process()
    html = httpx.get(running.url)
    files = re.findall(r'(?:src|href)="(static/[^"]+)"', html.text)
    assert len(files) == 4
    for response in (html, *(httpx.get(f"{running.url}/{file}") for file in files)):
        assert response.status_code == 200
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
    for path in ("static/page.html", "static/..%2Fsettings.py", "static/%2e%2e/settings.py"):
        assert httpx.get(f"{running.url}/{path}").status_code == 404


def test_the_status_is_json_with_the_registrys_versions(shale: Path, start_process: Callable[..., Any]) -> None:
    running = start_process()

    def versions() -> list[dict[str, Any]]:
        status = httpx.get(f"{running.url}/status.json").json()["status"]
        found: list[dict[str, Any]] = status["models"][0]["versions"]
        # The registry is read in the background after the first look.
        return found if len(found) == 2 else []

    current, other = until("both versions", versions)
    assert (current["version"], current["roles"], current["aliases"]) == ("1", ["current"], ["champion"])
    assert (other["version"], other["roles"], other["loaded"]) == ("2", [], None)
    assert other["scores"]["kid"] == 0.05
    assert httpx.get(f"{running.url}/status.json?parts=maybe").status_code == 400
    parts = httpx.get(f"{running.url}/status.json?parts=1").json()["parts"]
    assert "version <b" in parts["about-1"]
