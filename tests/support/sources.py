"""Reads what a piece of evidence points at straight from a dossier's files, past the code under test.

Pages come from the parsers, since their text is the reference for offsets; everything else is read from
the JSON and CSV files themselves.
"""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from rkyc.providers.documents.parse import parse_document

STATEMENTS, BANK, CORP = "statements.csv", "bank.json", "corp.json"
_BANK_PARTS = ("kyc_status", "relationship", "credit", "collateral", "loan", "deposit", "card", "trade")
# Account names as the examples write them, to the names a snapshot uses.
_CANONICAL = {
    "매출액": "revenue",
    "매출원가": "cost_of_sales",
    "영업이익(손실)": "operating_income",
    "이자비용": "interest_expense",
    "당기순이익(손실)": "net_income",
    "자산총계": "assets",
    "유동자산": "current_assets",
    "현금및현금성자산": "cash",
    "매출채권": "receivables",
    "재고자산": "inventories",
    "부채총계": "liabilities",
    "유동부채": "current_liabilities",
    "차입금": "borrowings",
    "자본총계": "equity",
    "자본금": "paid_in_capital",
    "이익잉여금(결손금)": "retained_earnings",
    "영업활동현금흐름": "operating_cash_flow",
}


def read_events(dossier: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the recorded events by file, `events/NAME.jsonl`, in the files' order."""
    files = sorted((dossier / "events").glob("*.jsonl"))
    return {
        f"events/{file.name}": [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        for file in files
    }


def read_statements(dossier: Path) -> dict[tuple[int, str], Decimal]:
    """Return the figures by (fiscal year, canonical concept), in whole units of the currency."""
    with (dossier / STATEMENTS).open(encoding="utf-8", newline="") as file:
        return {
            (int(row["fiscal_year"]), _CANONICAL.get(row["concept"], row["concept"])): Decimal(row["value"])
            * Decimal(row["unit"])
            for row in csv.DictReader(file)
        }


def read_numbers(dossier: Path) -> Iterator[Decimal | str]:
    """Give all that the dossier tells: the figures in whole units, and the texts of everything else."""
    for folder in (dossier, dossier / "previous"):
        if (folder / STATEMENTS).exists():
            yield from read_statements(folder).values()
            yield from (Decimal(year) for year, _ in read_statements(folder))
        for name in (CORP, BANK):
            if (folder / name).exists():
                yield (folder / name).read_text("utf-8")
    for rows in read_events(dossier).values():
        yield from (f"{row['title']} {row['text']}" for row in rows)
    for path in (dossier / "documents").rglob("*"):
        if path.is_file():
            yield from (path.name, *_pages(path))


def read_value(pointer: str, dossier: Path) -> Any:
    """Return what a pointer into the snapshot stands for, from the files; None when it is not there."""
    folder = dossier / "previous" if pointer.startswith(("/previous/", "previous:")) else dossier
    parts = _parts(pointer.removeprefix("previous:"))
    if parts[0] == "statements":
        return read_statements(folder).get((int(parts[1].removeprefix("FY")), parts[2]))
    file = _pointer_file("/" + "/".join(parts))
    if file is None or not (folder / file).exists():
        return None
    value = json.loads((folder / file).read_text("utf-8"), parse_float=Decimal, parse_int=Decimal)
    for part in parts[1:] if parts[0] == "corp" else parts:
        value = value[int(part)] if isinstance(value, list) else value.get(part)
        if value is None:
            return None
    return value


def evidence_file(evidence: dict[str, Any], dossier: Path) -> str | None:
    """Return the dossier's file that a piece of evidence points into; None when there is no such file."""
    ref = evidence["ref"]
    match evidence["ref_type"]:
        case "SNAPSHOT_KEYPATH":
            return _pointer_file(ref)
        case "DOC_PAGE":
            path = _document(dossier, ref.rpartition(":")[0])
            return path.relative_to(dossier).as_posix() if path else None
        case "URL":
            return next(
                (
                    file
                    for file, rows in read_events(dossier).items()
                    if any(row["url"] == ref for row in rows)
                ),
                None,
            )
    return None


def quote_is_verbatim(evidence: dict[str, Any], dossier: Path) -> bool:
    """Say whether the quote stands in its source: at its offsets in a text, as the value in a snapshot."""
    if evidence["ref_type"] == "SNAPSHOT_KEYPATH":
        return _is_value(evidence["quote"], evidence["ref"], dossier)
    start, end, text = evidence["char_start"], evidence["char_end"], _source_text(evidence, dossier)
    return text is not None and bool(evidence["quote"]) and text[start:end] == evidence["quote"]


def _source_text(evidence: dict[str, Any], dossier: Path) -> str | None:
    if evidence["ref_type"] == "URL":
        rows = [row for rows in read_events(dossier).values() for row in rows]
        return next((row["text"] for row in rows if row["url"] == evidence["ref"]), None)
    name, _, page = evidence["ref"].rpartition(":")
    path = _document(dossier, name)
    pages = _pages(path) if path else ()
    return pages[int(page) - 1] if 0 < int(page) <= len(pages) else None


@functools.cache
def _pages(path: Path) -> tuple[str, ...]:
    return tuple(page.text for page in parse_document(path.name, path.read_bytes()).pages)


def _document(dossier: Path, name: str) -> Path | None:
    """The document of that name: as a path in the dossier, or alone (a dossier uses a name once)."""
    candidates = [path for path in (dossier / "documents").rglob("*") if path.is_file()]
    return next((path for path in candidates if path == dossier / name or path.name == name), None)


def _parts(pointer: str) -> list[str]:
    """The steps of a pointer, with the snapshot's own grouping taken off."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    while len(parts) > 1 and (parts[0] in ("bank", "previous") or parts[:2] == ["corp", "kyc_status"]):
        parts = parts[1:]
    return parts


def _pointer_file(pointer: str) -> str | None:
    first = _parts(pointer)[0]
    return BANK if first in _BANK_PARTS else {"statements": STATEMENTS, "corp": CORP}.get(first)


def _is_value(quote: str, pointer: str, dossier: Path) -> bool:
    parts = _parts(pointer)
    folder = dossier / "previous" if pointer.startswith("/previous/") else dossier
    if parts[0] == "statements":
        year, concept = int(parts[1].removeprefix("FY")), parts[2]
        return _number(quote) == read_statements(folder).get((year, concept))
    value = json.loads((folder / str(_pointer_file(pointer))).read_text("utf-8"))
    for part in parts[1:] if parts[0] == "corp" else parts:
        value = value[int(part)] if isinstance(value, list) else value[part]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return quote in (value, json.dumps(value))
    return _number(quote) == Decimal(str(value))


def _number(quote: str) -> Decimal | None:
    try:
        return Decimal(quote.replace(",", ""))
    except InvalidOperation:
        return None
