"""A JSON schema as OpenAI's strict mode wants it.

Strict mode wants every property required and no others allowed, and knows only some keywords.
Limits that it does not know move into the description, where the model may still obey them; they
are checked again by pydantic. Pure.
"""

from __future__ import annotations

from typing import Any

# Notes that shape nothing.
_DROPPED = frozenset({"title", "default", "examples", "discriminator"})
# Limits that strict mode refuses, or that only some servers know.
_TOLD = ("minLength", "maxLength", "uniqueItems", "format")
# A value whose schema has none of these may be anything.
_SHAPING = frozenset({"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"})


def strict_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a copy that strict mode accepts."""
    return _strict(schema)


def is_strict_possible(schema: Any) -> bool:
    """Tell whether strict mode can express the schema: it has no objects with free keys and no open values."""
    if isinstance(schema, list):
        return all(is_strict_possible(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" and (
        not schema.get("properties") or schema.get("additionalProperties") not in (None, False)
    ):
        return False
    named = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    if any(not isinstance(value, dict) or not _SHAPING & value.keys() for value in named):
        return False
    nested = [schema.get(key) for key in ("items", "anyOf", "oneOf", "allOf")]
    return is_strict_possible(named) and is_strict_possible(nested)


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema and "$defs" not in schema:
        return {"$ref": schema["$ref"]}
    out: dict[str, Any] = {}
    for key, value in schema.items():
        match key:
            case "properties" | "$defs":
                out[key] = {name: _strict(inner) for name, inner in value.items()}
            case "anyOf" | "allOf":
                out[key] = [_strict(inner) for inner in value]
            case "oneOf":
                out["anyOf"] = [_strict(inner) for inner in value]
            case "items":
                out[key] = _strict(value)
            case _ if key not in _DROPPED and key not in _TOLD:
                out[key] = value
    if limits := ", ".join(f"{key}: {schema[key]}" for key in _TOLD if key in schema):
        out["description"] = f"{schema.get('description', '')} {{{limits}}}".strip()
    if out.get("type") == "object":
        out["required"] = list(out.get("properties", {}))
        out["additionalProperties"] = False
    return out
