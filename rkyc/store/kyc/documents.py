"""The papers of a company, their pages' texts, and which of them a run was given.

A document is kept once per company, content and parser; a run refers to it by the name it was delivered
under. Evidence names a page as `name:page`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson

from rkyc.store.pool import Connection, Record, execute_many, fetch, fetch_row, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


@dataclass(frozen=True, slots=True)
class PageRow:
    """`char_start` is the page's offset in the whole document's text, in characters."""

    page_no: int
    text: str
    char_start: int = 0
    ocr_confidence: float | None = None


@dataclass(frozen=True, slots=True)
class DocumentRow:
    corp_id: int
    sha256: str
    parser: str
    filename: str
    media_type: str
    size_bytes: int
    pages: tuple[PageRow, ...]
    doc_type: str = "OTHER"
    ocr_pages: int = 0
    lang: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AnalysisDocumentRow:
    """A paper in a run: `name` as delivered; a failed one has a code and a message instead of an id."""

    job_id: UUID
    name: str
    data_class: str
    status: str
    document_id: int | None = None
    pages: int = 0
    ocr_pages: int = 0
    error_code: str | None = None
    message: str | None = None
    warnings: tuple[str, ...] = ()


async def find_document(conn: Connection, *, corp_id: int, sha256: str, parser: str) -> Record | None:
    """Return id, pages and warnings of a paper that this parser has read before, or None."""
    return await fetch_row(conn, _SQL["find_document"], corp_id=corp_id, sha256=sha256, parser=parser)


async def find_read_document(conn: Connection, *, corp_id: int, sha256: str, version: str) -> Record | None:
    """Return a paper that the parsers of this version have read before, or None."""
    return await fetch_row(conn, _SQL["find_read_document"], corp_id=corp_id, sha256=sha256, version=version)


async def add_document(conn: Connection, row: DocumentRow) -> int:
    """Insert a paper with its pages and return its id; the id of the earlier row when it is known."""
    document_id = await fetch_value(
        conn,
        _SQL["add_document"],
        corp_id=row.corp_id,
        sha256=row.sha256,
        parser=row.parser,
        filename=row.filename,
        doc_type=row.doc_type,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        pages=len(row.pages),
        ocr_pages=row.ocr_pages,
        lang=row.lang,
        warnings=orjson.dumps(row.warnings).decode(),
    )
    await execute_many(
        conn,
        _SQL["add_page"],
        [
            {
                "document_id": document_id,
                "page_no": page.page_no,
                "text": page.text,
                "char_start": page.char_start,
                "ocr_confidence": page.ocr_confidence,
            }
            for page in row.pages
        ],
    )
    return int(document_id)


async def add_analysis_documents(conn: Connection, rows: Sequence[AnalysisDocumentRow]) -> None:
    """Note which papers a run was given and how each came out. Repeatable."""
    await execute_many(
        conn,
        _SQL["add_analysis_document"],
        [
            {
                "job_id": row.job_id,
                "name": row.name,
                "document_id": row.document_id,
                "data_class": row.data_class,
                "status": row.status,
                "pages": row.pages,
                "ocr_pages": row.ocr_pages,
                "error_code": row.error_code,
                "message": row.message,
                "warnings": orjson.dumps(row.warnings).decode(),
            }
            for row in rows
        ],
    )


async def list_documents(conn: Connection, job_id: UUID) -> list[Record]:
    """Return the papers of a run by name, failed ones too."""
    return await fetch(conn, _SQL["list_documents"], job_id=job_id)


async def read_pages(conn: Connection, job_id: UUID) -> list[Record]:
    """Return every page of the run's papers: name, page_no, text, data_class; by name and page."""
    return await fetch(conn, _SQL["read_pages"], job_id=job_id)


def warnings_of(row: Record) -> list[str]:
    """Return the warnings of a paper's row."""
    warnings: list[str] = orjson.loads(row["warnings"])
    return warnings
