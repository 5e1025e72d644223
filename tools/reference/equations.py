"""Equations of the pages: TeX in the source, MathML in the page, which a browser draws without any script."""

from __future__ import annotations

from typing import Any

from latex2mathml.converter import convert


def fence(source: str, language: str, css_class: str, options: dict[str, Any], md: Any, **kwargs: Any) -> str:
    """A block of ```math, one equation a line."""
    lines = [line.strip().rstrip("\\") for line in source.splitlines() if line.strip()]
    return "".join(f'<div class="equation">{convert(line, display="block")}</div>' for line in lines)
