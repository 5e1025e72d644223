"""The status page as HTML, whole or in the parts that the reader's browser puts in place every few seconds."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rockbank.generator.card import HEADLINE
from serving.dashboard.charts import correlation_chart, length, sparkline
from serving.dashboard.status import Status

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
# In the order of HEADLINE: as short as a table's head, and what they say.
_SCORE_HEADS = (
    ("FID", "Frechet inception distance to held-out rock; less is better"),
    ("KID", "Kernel inception distance to held-out rock; less is better"),
    ("S2 distance", "of the two-point correlations; less is better"),
    ("diversity", "1 is the rock's own"),
    ("memorisation", "1 is as far from the training crops as rock never seen, 0 is a copy of them"),
)
_ROLE_NAMES = {"current": "answers", "previous": "ready for a rollback", "canary": "canary", "shadow": "shadow"}
# Nothing from elsewhere, nothing inline; blob: is the picture that the page has just been sent.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Page:
    """The templates, read once."""

    def __init__(self) -> None:
        """Read the templates; what is rendered by them is escaped."""
        self._environment = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "correlation_chart": correlation_chart,
            "length_of": length,
            "moment": moment,
            "number": number,
            "provider": provider,
            "seconds": seconds,
            "shape": shape,
            "span": span,
            "sparkline": sparkline,
        }
        self._environment.globals |= {
            "fingerprint": _fingerprint(),
            "role_names": _ROLE_NAMES,
            "score_heads": _SCORE_HEADS,
            "score_keys": HEADLINE,
        }
        # Compiled now, not while somebody waits.
        for name in self._environment.list_templates():
            self._environment.get_template(name)

    def render(self, status: Status) -> str:
        """The whole page."""
        return self._environment.get_template("page.html").render(status=status)

    def version(self, page: object) -> str:
        """The page of a version, as `serving.dashboard.version` has it."""
        return self._environment.get_template("version.html").render(page=page)

    def parts(self, status: Status) -> dict[str, str]:
        """What changes of it, by the names of the places in the page."""
        shared = {name: self._part(name, status=status) for name in ("head", "alerts", "traffic", "swaps", "routes")}
        own = {
            f"{name}-{i}": self._part(name, status=status, model=model)
            for i, model in enumerate(status.models, start=1)
            for name in ("about", "watch", "versions")
        }
        return shared | own

    def _part(self, name: str, **values: object) -> str:
        return self._environment.get_template(f"parts/{name}.html").render(**values)


def number(value: float | None) -> str:
    """Three digits, or a whole number with thin spaces between its thousands."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    if value == 0 or 0.01 <= abs(value) < 100:
        return f"{value:.3g}"
    if abs(value) < 0.01:
        mantissa, _, exponent = f"{value:.2g}".partition("e")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def seconds(value: float | None) -> str:
    """A time span of a request."""
    if value is None:
        return "–"
    return f"{value * 1e3:.3g}\N{NO-BREAK SPACE}ms" if value < 1 else f"{value:.3g}\N{NO-BREAK SPACE}s"


def moment(value: datetime) -> str:
    """To the second today, to the minute before."""
    today = value.date() == datetime.now(UTC).date()
    return value.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def span(value: timedelta) -> str:
    """A time span in its two largest units."""
    total = int(value.total_seconds())
    units = ((total // 86400, "d"), (total // 3600 % 24, "h"), (total // 60 % 60, "min"), (total % 60, "s"))
    first = next((i for i, (count, _) in enumerate(units) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2])


def shape(sizes: Sequence[int]) -> str:
    """Sizes of an array."""
    return " × ".join(map(str, sizes))


def provider(name: str) -> str:
    """An execution provider of onnxruntime, without the words that all of them have."""
    return name.removesuffix("ExecutionProvider")


def _fingerprint() -> str:
    """Of the style and the script: a browser keeps them until they change."""
    files = (STATIC / name for name in ("page.css", "pan.js", "page.js"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
