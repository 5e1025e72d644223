"""Chromium that nobody sees: for the docs' pictures, and for the tests of what a page shows."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

PAGE_SECONDS = 30
CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
)


class Pages:
    """Chromium at the address of a server."""

    def __init__(self, browser: Chrome, address: str) -> None:
        self.browser = browser
        self.address = address

    def open(self, page: str, *texts: str) -> str:
        """Go to a page and wait until every one of `texts` is on it; returns the page's text."""
        # A blank page first: going from one '#/..' to another would otherwise not load anything.
        self.browser.get("about:blank")
        self.browser.get(f"{self.address}/{page}")
        return self.wait(*texts)

    def wait(self, *texts: str) -> str:
        """Wait until every one of `texts` is on the page; returns the page's text."""
        until = time.monotonic() + PAGE_SECONDS
        while missing := [text for text in texts if text not in self.text()]:
            if time.monotonic() > until:
                raise TimeoutError(f"{missing}: not on {self.browser.current_url}, which says:\n{self.text()}")
            time.sleep(0.2)
        return self.text()

    def text(self) -> str:
        """What the page says now."""
        said = str(self.browser.execute_script("return document.body ? document.body.innerText : ''"))
        return said.replace("\N{NO-BREAK SPACE}", " ")

    def console(self) -> list[str]:
        """What the console has said since it was last read: errors and warnings, also those of the network."""
        return [f"{entry['level']}: {entry['message']}" for entry in self.browser.get_log("browser")]

    def settle(self) -> None:
        """Wait until the page has not changed for a second: its pictures and curves are there."""
        seen, until = b"", time.monotonic() + PAGE_SECONDS
        while (now := self.browser.get_screenshot_as_png()) != seen and time.monotonic() < until:
            seen = now
            time.sleep(1)

    def find(self, xpath: str) -> list[WebElement]:
        """The elements of that path, once there is one."""
        return WebDriverWait(self.browser, PAGE_SECONDS).until(
            lambda browser: browser.find_elements(By.XPATH, xpath), f"not on the page: {xpath}"
        )

    def click(self, xpath: str) -> None:
        """Click every element of that path, be it in the window or not."""
        for element in self.find(xpath):
            self.browser.execute_script("arguments[0].click()", element)


@contextmanager
def pages(address: str, size: tuple[int, int] = (1440, 1000), script: str | None = None) -> Iterator[Pages]:
    """Chromium without a window, with a profile of its own.

    Args:
        address: of the server.
        size: of the window, pixels.
        script: run in every page before its own.
    """
    with tempfile.TemporaryDirectory() as profile:
        options = ChromeOptions()
        # What the console says is then there to be read.
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.binary_location = str(CHROMIUM)
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"):
            options.add_argument(flag)
        browser = Chrome(options=options, service=Service(str(CHROMEDRIVER)))
        try:
            if script is not None:
                browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
            yield Pages(browser, address)
        finally:
            browser.quit()
