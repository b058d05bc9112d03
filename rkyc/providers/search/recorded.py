"""Recorded search results of a dossier (`events/*.json`, `events/*.jsonl`): the offline search.

What was recorded is taken as given: it answers every query alike, whatever its words, dates and
limits. A record that can't be used becomes a warning with its place; the others stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from rkyc.providers.search.types import SOURCE_TYPES, SearchHit, SearchQuery

PROVIDER_NAME = "recorded"
# Characters of one record's text; a longer one is no article.
TEXT_CHARS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class RecordWarning:
    """`line` counts lines in .jsonl and records in .json, from 1; 0 is the file as a whole."""

    file: str
    line: int
    message: str


class RecordedSearch:
    """Holds the records of some files, in the files' order by name."""

    name = PROVIDER_NAME

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.hits: list[SearchHit] = []
        self.warnings: list[RecordWarning] = []
        for file in sorted(files):
            for line, record in self._records(file, files[file]):
                self._take(file, line, record)

    async def search(self, query: SearchQuery, *, timeout_s: float) -> list[SearchHit]:
        """Return every record."""
        return list(self.hits)

    async def aclose(self) -> None:
        """Nothing is open."""

    def _records(self, file: str, raw: bytes) -> Iterator[tuple[int, Any]]:
        raw = raw.removeprefix(b"\xef\xbb\xbf")
        if file.lower().endswith(".jsonl"):
            for line, text in enumerate(raw.split(b"\n"), start=1):
                if text.strip():
                    yield from self._parsed(file, line, text)
            return
        for _, whole in self._parsed(file, 0, raw):
            yield from enumerate(_listed(whole), start=1)

    def _parsed(self, file: str, line: int, raw: bytes) -> Iterator[tuple[int, Any]]:
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            self._warn(file, line, f"is no valid JSON ({error.msg}, character {error.pos + 1})")
            return
        yield line, value

    def _take(self, file: str, line: int, record: Any) -> None:
        fault = _fault(record)
        if fault is not None:
            self._warn(file, line, fault)
            return
        source_type = record.get("source_type")
        if source_type is not None and source_type not in SOURCE_TYPES:
            self._warn(file, line, f"source_type is none of {', '.join(SOURCE_TYPES)}; taken as NEWS")
            source_type = None
        published_at = record.get("published_at")
        if published_at is not None and not _is_iso(published_at):
            self._warn(file, line, "published_at is no ISO date; taken as unknown")
            published_at = None
        self.hits.append(
            SearchHit(
                url=record["url"].strip(),
                title=_clean(record["title"]),
                text=_clean(record["text"]),
                published_at=published_at,
                source=_text_or_none(record.get("source")),
                source_type=source_type or "NEWS",
                lang=_text_or_none(record.get("lang")),
                provider=PROVIDER_NAME,
            )
        )

    def _warn(self, file: str, line: int, message: str) -> None:
        self.warnings.append(RecordWarning(file, line, message))


def _listed(whole: Any) -> list[Any]:
    """Find the records of a file: a list, one object, or an object around a list."""
    if isinstance(whole, dict) and "url" not in whole:
        whole = next((value for value in whole.values() if isinstance(value, list)), whole)
    return whole if isinstance(whole, list) else [whole]


def _fault(record: Any) -> str | None:
    """Say why a record can't be used; None when it can."""
    if not isinstance(record, dict):
        return 'is no object; expected {"url", "title", "text", …}'
    for key in ("url", "title", "text"):
        if not isinstance(record.get(key), str) or not record[key].strip():
            return f"{key} is missing or no text"
    if not _is_web_address(record["url"].strip()):
        return "url is no http or https address"
    if len(record["text"]) > TEXT_CHARS_MAX:
        return f"text is longer than {TEXT_CHARS_MAX} characters"
    return None


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _is_iso(value: Any) -> bool:
    try:
        datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return False
    return True


def _text_or_none(value: Any) -> str | None:
    return _clean(value) if isinstance(value, str) and value.strip() else None


def _clean(text: str) -> str:
    # The database can't hold a NUL; one character for one keeps the offsets of quotes.
    return text.replace("\x00", "\ufffd")
