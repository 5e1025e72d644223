"""The page of the service's HTTP interface, of its OpenAPI document."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.app import create_app
from serving.base.settings import load_settings
from tools.reference.tables import code, table


def page(root: Path) -> str:
    """Every path with its parameters, body and answers; every schema with its fields."""
    document = openapi()
    parts = ["# HTTP\n", f"{document['info']['description']} A running service has the document as `/openapi.json`.\n"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += _operation(path, method, operation)
    parts.append("## Schemas\n")
    for name, schema in document["components"]["schemas"].items():
        parts += _schema(name, schema)
    return "\n".join(parts)


def openapi() -> dict[str, Any]:
    """The document of a service with the default settings, which is not started."""
    with tempfile.TemporaryDirectory() as folder:
        document: dict[str, Any] = create_app(load_settings(cache=Path(folder) / "cache")).openapi()
    return document


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> list[str]:
    parts = [f"## {method.upper()} {path}\n", f"{operation.get('description') or operation.get('summary', '')}\n"]
    if rows := [
        [code(each["name"]), each["in"], _type(each.get("schema", {})), each.get("description", "")]
        for each in operation.get("parameters", ())
    ]:
        parts.append(table(["parameter", "in", "type", "what"], rows))
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"Body: {code(media)}, {_type(content.get('schema', {}))}\n")
    rows = [
        [status, ", ".join(code(media) for media in answer.get("content", {})), answer.get("description", "")]
        for status, answer in operation["responses"].items()
    ]
    return [*parts, table(["status", "media", "what"], rows)]


def _schema(name: str, schema: Mapping[str, Any]) -> list[str]:
    required = schema.get("required", ())
    rows = [
        [code(key), _type(of), code(_default(of, key in required)), of.get("description", "")]
        for key, of in schema.get("properties", {}).items()
    ]
    parts = [f"### {name}\n"]
    if said := schema.get("description"):
        parts.append(f"{said}\n")
    return [*parts, table(["field", "type", "default", "what"], rows)] if rows else parts


def _default(of: Mapping[str, Any], is_required: bool) -> str:
    if is_required:
        return "required"
    return "" if of.get("default") is None else str(of["default"])


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_type(each) for each in schema[key]))
    if "enum" in schema:
        return ", ".join(code(each) for each in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"array of {_type(schema.get('items', {}))}" if "items" in schema else "array"
    limits = [f"{word} {schema[key]:g}" for key, word in (
        ("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<")
    ) if key in schema]  # fmt: skip
    return " ".join([kind, *limits])
