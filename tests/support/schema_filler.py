"""The emptiest value that fits a JSON schema: what an unscripted model answers.

Lists are empty, what may be null is null, texts are as short as allowed. Limits that a vendor's
dialect moved into a description (`{minLength: 1}`) are obeyed too.
"""

from __future__ import annotations

import re
from typing import Any

_MOVED = re.compile(r"\b(minLength|minItems|minimum): (\d+)")


def fill_schema(schema: dict[str, Any]) -> Any:
    """Return the emptiest fitting value; `$ref` are looked up in the schema's own `$defs`."""
    return _fill(schema, schema.get("$defs", {}))


def _fill(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _fill(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            nullable = any(option.get("type") == "null" for option in schema[key])
            return None if nullable else _fill(schema[key][0], definitions)
    limits = {name: int(value) for name, value in _MOVED.findall(str(schema.get("description", "")))}
    limits |= {name: schema[name] for name in ("minLength", "minItems", "minimum") if name in schema}
    match schema.get("type"):
        case "object":
            return {name: _fill(inner, definitions) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [_fill(schema["items"], definitions) for _ in range(limits.get("minItems", 0))]
        case "string":
            return "x" * limits.get("minLength", 0)
        case "integer" | "number":
            return limits.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return None
