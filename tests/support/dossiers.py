"""The example dossiers, and copies of them with one thing changed.

Each function that changes something takes the folder of a copy and works on its files alone.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import unicodedata
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import rkyc.examples

EXAMPLES = Path(next(iter(rkyc.examples.__path__)))
HANBIT = EXAMPLES / "hanbit-precision"
SAEBOM = EXAMPLES / "saebom-foods"


def copy_dossier(dossier: Path, target: Path) -> Path:
    """Copy a dossier to `target`/its name and return that folder."""
    return Path(shutil.copytree(dossier, target / dossier.name))


def set_figure(dossier: Path, fiscal_year: int, concept: str, value: int) -> None:
    """Set one figure of `statements.csv`, by its name and in its unit as the file has them."""
    rows = _read_rows(dossier / "statements.csv")
    found = [row for row in rows if row["fiscal_year"] == str(fiscal_year) and row["concept"] == concept]
    if len(found) != 1:
        raise ValueError(f"{dossier.name}: {len(found)} rows of {concept} in {fiscal_year}, expected one")
    found[0]["value"] = str(value)
    _write_rows(dossier / "statements.csv", rows)


def set_bank_value(dossier: Path, pointer: str, value: Any) -> None:
    """Set one value of `bank.json` that is there, by its JSON pointer."""
    path = dossier / "bank.json"
    document = json.loads(path.read_text("utf-8"))
    *parents, last = pointer.split("/")[1:]
    place = document
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if last not in place:
        raise ValueError(f"{dossier.name}: bank.json has no {pointer}")
    place[last] = value
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2), encoding="utf-8")


def write_in_whole_units(dossier: Path) -> None:
    """Write all figures in the unit 1: thousands or millions become values a thousand or million times as high."""
    for path in (dossier / "statements.csv", dossier / "previous" / "statements.csv"):
        rows = _read_rows(path)
        for row in rows:
            row["value"], row["unit"] = str(Decimal(row["value"]) * Decimal(row["unit"])), "1"
        _write_rows(path, rows)


def swap_words(dossier: Path, pairs: list[tuple[str, str]]) -> None:
    """Exchange the words of each pair in the title and text of every recorded event.

    A longer word wins over a shorter one that it holds, so a name and its extension can change places. A
    decomposed text (NFD) stays one.
    """
    exchange = {**dict(pairs), **{second: first for first, second in pairs}}
    words = re.compile("|".join(re.escape(word) for word in sorted(exchange, key=len, reverse=True)))
    for path in (dossier / "events").glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for row in rows:
            for field in ("title", "text"):
                form: Literal["NFC", "NFD"] = "NFC" if unicodedata.is_normalized("NFC", row[field]) else "NFD"
                swapped = words.sub(
                    lambda found: exchange[found[0]], unicodedata.normalize("NFC", row[field])
                )
                row[field] = unicodedata.normalize(form, swapped)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
