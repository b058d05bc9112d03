"""JSON files of a dossier: read exactly, and refused with the place of what is wrong.

Numbers become int or Decimal, never float, so that 0.1 stays 0.1; NaN and Infinity are refused, and so
is a key that stands twice, of which one value would be lost unseen.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from rkyc.errors import DossierError

BYTES_MAX = 10 * 1024 * 1024
_DIGITS_MAX = 40
_SHOWN_FIELDS_MAX = 10


def parse_json_object(data: bytes, *, file_name: str) -> dict[str, Any]:
    """Return the object that a file holds.

    Raises:
        DossierError: not UTF-8, not JSON, or no object; `details` hold file and line.
    """
    if len(data) > BYTES_MAX:
        raise DossierError(
            f"{file_name}: {len(data)} bytes, at most {BYTES_MAX} are read", {"file": file_name}
        )
    try:
        value = json.loads(
            data.decode("utf-8-sig"),
            parse_float=_parse_number,
            parse_int=_parse_number,
            parse_constant=_refuse_constant,
            object_pairs_hook=_refuse_double_keys,
        )
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DossierError(
            f"{file_name}: line {line} is not UTF-8; save the file as UTF-8 and submit again",
            {"file": file_name, "line": line},
        ) from error
    except json.JSONDecodeError as error:
        raise DossierError(
            f"{file_name}: line {error.lineno}, column {error.colno} is not JSON ({error.msg}); "
            "correct it and submit again",
            {"file": file_name, "line": error.lineno},
        ) from error
    except RecursionError as error:
        raise DossierError(f"{file_name}: nested too deep to be read", {"file": file_name}) from error
    except ValueError as error:
        raise DossierError(
            f"{file_name}: {error}; correct it and submit again", {"file": file_name}
        ) from error
    if not isinstance(value, dict):
        raise DossierError(
            f"{file_name}: a JSON object {{…}} is expected, got {type(value).__name__}",
            {"file": file_name, "line": 1},
        )
    return value


def describe_fields(error: ValidationError, *, file_name: str) -> DossierError:
    """Turn what does not fit a model into an error that names each field and what is expected there."""
    found = error.errors(include_url=False, include_input=False)
    fields = [".".join(str(part) for part in item["loc"]) or "(all)" for item in found]
    shown = "; ".join(
        f"field {field}: {_explain(item['type'], item['msg'])}"
        for field, item in list(zip(fields, found, strict=True))[:_SHOWN_FIELDS_MAX]
    )
    more = f" (and {len(found) - _SHOWN_FIELDS_MAX} more)" if len(found) > _SHOWN_FIELDS_MAX else ""
    return DossierError(
        f"{file_name}: {shown}{more}; correct the file and submit again",
        {"file": file_name, "field": fields[0], "fields": fields[:_SHOWN_FIELDS_MAX]},
    )


def _explain(kind: str, message: str) -> str:
    match kind:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not known; remove it, or correct its name"
    return message[:1].lower() + message[1:]


def _parse_number(text: str) -> int | Decimal:
    digits = sum(character.isdigit() for character in text)
    number = Decimal(text)
    if digits > _DIGITS_MAX or (number and abs(number.adjusted()) > _DIGITS_MAX):
        raise ValueError(f"the number {text[:20]}… has more digits than the {_DIGITS_MAX} that are read")
    return number if any(character in ".eE" for character in text) else int(text)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _refuse_double_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found
