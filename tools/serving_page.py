"""Remake the pictures of the status page from the generators of the working folder: python -m tools.serving_page.

The registry is a copy of the working folder's, so that a promotion can be shown and changes nothing there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import mlflow
from PIL import Image

from rockbank.client import Client
from rockbank.mlops import registry
from tools.browser import CHROMEDRIVER, CHROMIUM, Pages, pages

PICTURES = Path("docs/pictures")
STORE = Path("mlflow.db")
SHOWN = "shale"
# Of the watched statistics; a window is full before the pictures are taken.
WINDOW = 128
# A minute and a half of traffic is a curve.
TRAFFIC_SECONDS = 90
WIDE, NARROW = (1280, 1160), (400, 1400)


def main() -> None:
    """Every picture, or an error that says what is missing."""
    if CHROMIUM is None or CHROMEDRIVER is None:
        raise SystemExit("no Chromium with its driver here; apt install chromium chromium-driver")
    if not STORE.is_file():
        raise SystemExit(f"{STORE}: not there; run 'make run' first")
    with tempfile.TemporaryDirectory() as temporary:
        store = Path(temporary) / STORE.name
        shutil.copyfile(STORE, store)
        mlflow.set_tracking_uri(f"sqlite:///{store}")
        champion = registry.resolve(f"{SHOWN}@{registry.CHAMPION}")
        others = [entry for entry in registry.versions(SHOWN) if entry.version != champion.version]
        if others:
            registry.set_alias(SHOWN, registry.CHAMPION, others[0].version)
        with serving(store, Path(temporary) / "cache") as url, traffic(url):
            time.sleep(TRAFFIC_SECONDS / 3)
            registry.set_alias(SHOWN, registry.CHAMPION, champion.version)
            time.sleep(TRAFFIC_SECONDS * 2 / 3)
            with pages(url, WIDE) as page:
                shoot(page, "serving_page", WIDE, champion.version)
                shoot(page, "serving_page_dark", WIDE, champion.version, dark=True)
                shoot(page, "serving_page_narrow", NARROW, champion.version)
                if said := page.console():
                    raise SystemExit(f"the page's console says: {said}")


def shoot(page: Pages, name: str, size: tuple[int, int], version: str, *, dark: bool = False) -> None:
    """A picture of the upper part of the page, at `size` pixels."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    page.browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    page.open("", f"version {version} answers", f"of {SHOWN}/{version}, seed 7", f"last {WINDOW} samples served")
    # The first poll puts in place how things stand.
    page.wait("as of")
    picture = Image.open(BytesIO(page.browser.get_screenshot_as_png())).convert("RGB")
    # Rock is noise to PNG: a palette is a quarter of the size. The median cut would lose the few coloured lines.
    palette = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    palette.save(PICTURES / f"{name}.png", optimize=True)
    print(f"wrote {PICTURES / name}.png")


@contextmanager
def serving(store: Path, cache: Path) -> Iterator[str]:
    """The service of a registry on a free port, stopped when the block ends; its address."""
    given = {
        "PORT": "0",
        "TRACKING_URI": f"sqlite:///{store}",
        "CACHE": str(cache),
        "POLL_SECONDS": "1",
        "STATISTICS_WINDOW": str(WINDOW),
        "STATISTICS_FRACTION": "1",
    }
    environment = os.environ | {f"ROCKBANK_{name}": value for name, value in given.items()}
    with (cache.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving"], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"serving on (http://\S+)", line):
                yield found.group(1)
                return
        raise SystemExit(f"the service did not start; it said:\n{(cache.parent / 'log').read_text()[-2000:]}")
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def traffic(url: str) -> Iterator[None]:
    """Requests for samples of every model, a few a second, while the block runs."""
    ended = threading.Event()

    def ask() -> None:
        with Client(url) as client:
            names = [model["name"] for model in client.models()]
            i_request = 0
            while not ended.wait(0.4):
                client.generate(names[i_request % len(names)], 1 + i_request % 8)
                i_request += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    main()
