"""The page of the service's settings, of their class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serving.base.settings import PREFIX, Settings
from tools.reference.tables import code, table


def page(root: Path) -> str:
    """Every setting with its default."""
    rows = [
        [code(PREFIX + name.upper()), code(_default(field.default)), (field.description or "").replace("[", "\\[")]
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        [
            "# Settings of the service\n",
            "`rockbank serve` reads them from the environment when it starts. A value that cannot be used, and a "
            f"variable that begins with `{PREFIX}` and is no setting, is reported.\n",
            table(["setting", "default", "what"], rows),
        ]
    )


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return "" if value is None else str(value)
