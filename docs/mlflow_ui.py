"""The MLflow UI in a browser that nobody sees: for the docs' pictures, and for the test of what the UI shows."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

START_SECONDS = 60
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
_SETTLED = """if (location.protocol === 'http:') {
  localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
  localStorage.setItem('mlflow.workflowType_v1', '"machine_learning"');
}"""


@contextmanager
def server(store: Path, artifacts: Path, log: Path) -> Iterator[str]:
    """An MLflow server on a free port of this machine, stopped when the block ends.

    Args:
        store: the sqlite file.
        artifacts: where it keeps the artifacts of runs made through it.
        log: where its output goes.

    Yields:
        Its address.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{store.resolve()}", "--artifacts-destination", str(artifacts)]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("wb") as output:
        # A session of its own, so that the workers can be stopped with the server.
        process = subprocess.Popen(
            command, env={**os.environ, **quiet}, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_healthy(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the MLflow server did not start; it said:\n{log.read_text()[-2000:]}")


class Pages:
    """Chromium at the address of an MLflow server."""

    def __init__(self, browser: Chrome, address: str) -> None:
        self.browser = browser
        self.address = address

    def open(self, page: str, *texts: str) -> str:
        """Go to a page of the UI and wait until every one of `texts` is on it; returns the page's text."""
        # A blank page first: going from one '#/..' to another would otherwise not load anything.
        self.browser.get("about:blank")
        self.browser.get(f"{self.address}/#/{page}")
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

    def settle(self) -> None:
        """Wait until the page has not changed for a second: its pictures and curves are drawn."""
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
def pages(address: str, size: tuple[int, int] = (1440, 1000)) -> Iterator[Pages]:
    """Chromium without a window, with a profile of its own; `size` in pixels."""
    with tempfile.TemporaryDirectory() as profile:
        options = ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"):
            options.add_argument(flag)
        browser = Chrome(options=options, service=Service(str(CHROMEDRIVER)))
        try:
            # As after a person's first visit: the assistant closed, "Model training" rather than "GenAI" chosen.
            browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _SETTLED})
            yield Pages(browser, address)
        finally:
            browser.quit()
