"""The snapshot document v1.0: what is known of a company in figures and records, as one JSON object.

Built from the dossier's files alone, canonical, and hashed: the same content gives the same hash on any
machine. Parts: `corp`; `statements` by period (`/statements/FY2019/liabilities` is the number itself, in
full currency units) with `currencies`; the parts of `bank.json` as they are; and `sources`, which says
for each figure where it stands and is not part of the hash. Numbers are int or decimal strings, exact.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from rkyc.errors import DossierError
from rkyc.providers.documents.figures import Figure, FiguresResult, merge_figures, parse_statements_csv
from rkyc.providers.documents.xbrl import parse_xbrl
from rkyc.steps.kyc.bank_input import BankIn
from rkyc.steps.kyc.json_input import describe_fields, parse_json_object
from rkyc.steps.kyc.layout import FileKind, classify_file
from rkyc.steps.kyc.pointers import join_pointer, list_changes
from rkyc.steps.kyc.schemas import CorpIn

SCHEMA_VERSION = "1.0"
# Beyond it a JSON reader that uses doubles would round.
_SAFE_INT = 2**53 - 1
_NOT_HASHED = ("sources",)


@dataclass(frozen=True, slots=True)
class SnapshotDocument:
    """`warnings` are (code, message) pairs of what was left out."""

    doc: dict[str, Any]
    sha256: str
    figures: tuple[Figure, ...]
    warnings: tuple[tuple[str, str], ...]


def build_snapshot(corp: CorpIn, files: Mapping[str, bytes]) -> SnapshotDocument:
    """Build the document from `corp.json`'s content and the other files by name.

    Raises:
        DossierError: a file that can't be read, with its place.
    """
    figures, warnings = _choose_currency(_read_figures(files), corp.currency)
    doc: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "corp": _describe_corp(corp),
        **_read_bank(files.get("bank.json")),
        "statements": {},
        "currencies": {},
        "sources": {},
    }
    for figure in figures:
        period = name_period(figure)
        doc["statements"].setdefault(period, {})[figure.concept] = write_amount(figure.value)
        doc["currencies"][period] = figure.currency
        doc["sources"][join_pointer("statements", period, figure.concept)] = figure.ref
    doc = canonicalise(doc, file_name="the dossier")
    return SnapshotDocument(doc, hash_document(doc), figures, warnings)


def check_files(files: Mapping[str, bytes]) -> None:
    """Read what a snapshot is built from, to refuse at submit what the step would refuse later.

    Raises:
        DossierError
    """
    _read_figures(files)
    canonicalise(_read_bank(files.get("bank.json")), file_name="bank.json")


def parse_corp(data: bytes, *, file_name: str) -> CorpIn:
    """Read `corp.json`.

    Raises:
        DossierError: not JSON, or a field that does not fit, named.
    """
    try:
        return CorpIn.model_validate(parse_json_object(data, file_name=file_name))
    except ValidationError as error:
        raise describe_fields(error, file_name=file_name) from error


def hash_document(doc: Mapping[str, Any]) -> str:
    """Return the sha256 of the canonical JSON of all parts but `sources`."""
    hashed = {key: value for key, value in doc.items() if key not in _NOT_HASHED}
    text = json.dumps(hashed, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def list_document_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the pointers at which two documents differ, `sources` aside."""
    left, right = (
        {key: value for key, value in doc.items() if key not in _NOT_HASHED} for doc in (before, after)
    )
    return list_changes(left, right)


def name_period(figure: Figure) -> str:
    """`FY2019` for a whole year, `2020Q1` for a quarter."""
    return f"FY{figure.fiscal_year}" if figure.period == "FY" else f"{figure.fiscal_year}{figure.period}"


def sort_periods(periods: Iterable[str]) -> list[str]:
    """Order statement keys oldest first; a year stands after its quarters."""
    return sorted(periods, key=lambda key: (key[2:], "Q9") if key.startswith("FY") else (key[:4], key[4:]))


def write_amount(value: Decimal) -> int | str:
    """Write an amount exactly: an int where JSON readers keep it, else a decimal string."""
    if value == value.to_integral_value():
        return int(value) if abs(value) <= _SAFE_INT else format(value.to_integral_value(), "f")
    return format(value.normalize(), "f")


def canonicalise(value: Any, *, file_name: str) -> Any:
    """Return the value with texts in NFC and exact numbers.

    Raises:
        DossierError: a text that Postgres can't hold.
    """
    match value:
        case str():
            if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
                raise DossierError(
                    f"{file_name}: a text holds a NUL or half a character; remove it", {"file": file_name}
                )
            return unicodedata.normalize("NFC", value)
        case bool() | None:
            return value
        case Decimal():
            # As written: `58.0` stays so, since evidence quotes it.
            return format(value, "f") if "." in str(value) else write_amount(value)
        case int():
            return write_amount(Decimal(value))
        case Mapping():
            return {
                canonicalise(str(key), file_name=file_name): canonicalise(item, file_name=file_name)
                for key, item in value.items()
            }
        case Sequence():
            return [canonicalise(item, file_name=file_name) for item in value]
    raise DossierError(f"{file_name}: a value of type {type(value).__name__} has no place in a snapshot")


def _describe_corp(corp: CorpIn) -> dict[str, Any]:
    # `as_of` says from when one looks, not what the company is.
    return corp.model_dump(exclude={"as_of"}, exclude_none=True, exclude_defaults=True) | {"name": corp.name}


def _read_bank(data: bytes | None) -> dict[str, Any]:
    if data is None:
        return {}
    records = parse_json_object(data, file_name="bank.json")
    try:
        BankIn.model_validate(records)
    except ValidationError as error:
        raise describe_fields(error, file_name="bank.json") from error
    return records


def _read_figures(files: Mapping[str, bytes]) -> FiguresResult:
    """Read the table first: where it and an XBRL instance differ, the table stands."""
    tables = [name for name in sorted(files) if classify_file(name) is FileKind.STATEMENTS]
    instances = [name for name in sorted(files) if classify_file(name) is FileKind.XBRL]
    return merge_figures(
        [
            *(parse_statements_csv(files[name], file_name=name) for name in tables),
            *(parse_xbrl(files[name], file_name=name) for name in instances),
        ]
    )


def _choose_currency(
    result: FiguresResult, wanted: str | None
) -> tuple[tuple[Figure, ...], tuple[tuple[str, str], ...]]:
    """Keep one currency a period: the company's own where it is there, else the most frequent."""
    warnings = [(warning.code, warning.message) for warning in result.warnings]
    by_period: dict[str, list[Figure]] = {}
    for figure in result.figures:
        by_period.setdefault(name_period(figure), []).append(figure)
    kept: list[Figure] = []
    for period, figures in by_period.items():
        counts = Counter(figure.currency for figure in figures)
        chosen = wanted if wanted in counts else min(counts, key=lambda code: (-counts[code], code))
        kept += [figure for figure in figures if figure.currency == chosen]
        if len(counts) > 1:
            others = ", ".join(sorted(set(counts) - {chosen}))
            warnings.append(
                ("mixed_currencies", f"{period}: figures in {others} were left out beside {chosen}")
            )
    return tuple(kept), tuple(warnings)
