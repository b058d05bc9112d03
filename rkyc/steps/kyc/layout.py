"""The layout of a dossier: what each file is, by its name, and whose data it holds."""

from __future__ import annotations

from enum import StrEnum

from rkyc.providers.llm.types import DataClass

PREVIOUS = "previous/"
CORP = "corp.json"
# Lies beside the examples: what an evaluation expects of them. Not read, and no stray file.
EXPECTED = "expected.json"


class FileKind(StrEnum):
    CORP = "corp"
    STATEMENTS = "statements"
    XBRL = "xbrl"
    BANK = "bank"
    DOCUMENT = "document"
    EVENTS = "events"


def classify_file(name: str) -> FileKind | None:
    """Say what a file is by its name relative to the dossier (or to its `previous/`); None: nothing known."""
    match name:
        case "corp.json":
            return FileKind.CORP
        case "statements.csv":
            return FileKind.STATEMENTS
        case "bank.json":
            return FileKind.BANK
    folder, _, rest = name.partition("/")
    if not rest:
        return FileKind.XBRL if name.endswith((".xbrl.xml", ".xbrl.xml.gz")) else None
    if folder == "documents":
        return FileKind.DOCUMENT
    if folder == "events" and "/" not in rest and rest.endswith((".json", ".jsonl")):
        return FileKind.EVENTS
    return None


def data_class_of(name: str, *, is_listed: bool) -> DataClass:
    """Say whose data a file holds; statements are public only for a listed company."""
    kind = classify_file(name)
    if kind is FileKind.EVENTS or name.startswith("documents/public/"):
        return DataClass.PUBLIC
    if kind in (FileKind.STATEMENTS, FileKind.XBRL) and is_listed:
        return DataClass.PUBLIC
    return DataClass.INTERNAL
