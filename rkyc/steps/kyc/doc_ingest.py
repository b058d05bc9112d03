"""Step 2: the papers of the dossier become pages of text.

Each paper is parsed in a child process, at most two at a time. One that can't be read is FAILED with a
warning and the others go on; what the same parsers have read before for this company is not read
again. A scan counts as read, with no text and a warning: there is no OCR here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rkyc.errors import ChildProcessDiedError, InvalidFileError, WorkerBaseException
from rkyc.flow.context import StepContext
from rkyc.providers.documents.parse import parse_document
from rkyc.providers.documents.types import PARSER_VERSION, ParsedDocument
from rkyc.providers.llm.types import DataClass
from rkyc.steps.kyc.layout import FileKind, classify_file, data_class_of
from rkyc.steps.kyc.parallel import run_side_by_side
from rkyc.steps.kyc.schemas import DocIngestOut, DocumentOut, FileRef, KycInput, SnapshotOut
from rkyc.steps.kyc.vocabulary import DocType
from rkyc.store.blobs import read_blob
from rkyc.store.kyc import documents
from rkyc.store.kyc.documents import AnalysisDocumentRow, DocumentRow, PageRow
from rkyc.store.pool import Connection, Pool

# A parser may hold a file of 50 MB and its text; two children fit a small machine.
_PARALLEL_MAX = 2
# Warnings that tell of text that is not there.
_PARTIAL_WARNINGS = frozenset({"ocr_unavailable", "page_unreadable", "pages_truncated", "text_truncated"})
_MESSAGE_CHARS_MAX = 500
_TITLE_CHARS = 1500
_DOC_TYPES: tuple[tuple[DocType, re.Pattern[str]], ...] = (
    (DocType.BIZ_REG, re.compile(r"사업자\s*등록증|business\s+registration\s+certificate", re.IGNORECASE)),
    (DocType.REGISTRY, re.compile(r"등기\s*사항|법인\s*등기|certificate\s+of\s+incorporation", re.IGNORECASE)),
    (DocType.SHAREHOLDERS, re.compile(r"주주\s*명부|shareholder\s+(?:register|list)", re.IGNORECASE)),
    (DocType.AOI, re.compile(r"(?im)^\s*정\s*관\s*$|articles\s+of\s+(?:incorporation|association)")),
    (
        DocType.FIN_STATEMENT,
        re.compile(r"(?i)감사\s*보고서|재무\s*(?:제|상태)표|auditor'?s'?\s+report|balance\s+sheet"),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Read:
    """A paper after reading: the row to add when it is new, and its row in this run."""

    out: DocumentOut
    link: AnalysisDocumentRow
    new: DocumentRow | None = None


async def run(ctx: StepContext, input: SnapshotOut, job: KycInput) -> DocIngestOut:
    """Read every paper of the job; partial when one of them could not be read."""
    files = [file for file in job.files if classify_file(file.name) is FileKind.DOCUMENT]
    is_listed = job.corp.listed_code is not None
    parts = [
        functools.partial(_read_one, ctx, input.corp_id, file, data_class_of(file.name, is_listed=is_listed))
        for file in files
    ]
    done = await run_side_by_side(parts, limit=_PARALLEL_MAX)
    for result in done:
        _warn(ctx, result.out)
    return DocIngestOut(documents=[result.out for result in done], pending=done)


async def save(conn: Connection, output: DocIngestOut) -> None:
    """Keep the new papers with their pages, and which papers this run has."""
    links = []
    for result in _pending(output):
        link = result.link
        if result.new is not None:
            document_id = await documents.add_document(conn, result.new)
            link = AnalysisDocumentRow(
                job_id=link.job_id,
                name=link.name,
                data_class=link.data_class,
                status=link.status,
                document_id=document_id,
                pages=link.pages,
                ocr_pages=link.ocr_pages,
                warnings=link.warnings,
            )
        links.append(link)
    await documents.add_analysis_documents(conn, links)


def _pending(output: DocIngestOut) -> Sequence[_Read]:
    pending: Sequence[_Read] = output.pending or ()
    return pending


async def _read_one(ctx: StepContext, corp_id: int, file: FileRef, data_class: DataClass) -> _Read:
    pool = ctx.use(Pool)
    async with pool.connection() as conn:
        known = await documents.find_read_document(
            conn, corp_id=corp_id, sha256=file.sha256, version=PARSER_VERSION
        )
        data = b"" if known is not None else await read_blob(conn, file.sha256)
    if known is not None:
        out = DocumentOut(
            id=known["id"],
            name=file.name,
            status="DONE",
            pages=known["pages"],
            ocr_pages=known["ocr_pages"],
            data_class=data_class,
            warnings=documents.warnings_of(known),
        )
        return _Read(out, _link(ctx, out))
    try:
        parsed = await ctx.run_in_process(parse_document, file.name, data)
    except (InvalidFileError, ChildProcessDiedError) as error:
        return _failed(ctx, file, data_class, error)
    warnings = [f"{warning.code}: {warning.message}" for warning in parsed.warnings]
    out = DocumentOut(
        name=file.name, status="DONE", pages=len(parsed.pages), data_class=data_class, warnings=warnings
    )
    return _Read(out, _link(ctx, out), _row(corp_id, file, parsed, warnings))


def _failed(ctx: StepContext, file: FileRef, data_class: DataClass, error: WorkerBaseException) -> _Read:
    out = DocumentOut(
        name=file.name,
        status="FAILED",
        data_class=data_class,
        error_code=error.error_code,
        message=error.message[:_MESSAGE_CHARS_MAX],
    )
    return _Read(out, _link(ctx, out))


def _link(ctx: StepContext, out: DocumentOut) -> AnalysisDocumentRow:
    return AnalysisDocumentRow(
        job_id=ctx.job_id,
        name=out.name,
        data_class=out.data_class,
        status=out.status,
        document_id=out.id,
        pages=out.pages,
        ocr_pages=out.ocr_pages,
        error_code=out.error_code,
        message=out.message,
        warnings=tuple(out.warnings),
    )


def _row(corp_id: int, file: FileRef, parsed: ParsedDocument, warnings: Sequence[str]) -> DocumentRow:
    pages: list[PageRow] = []
    char_start = 0
    for page in parsed.pages:
        pages.append(PageRow(page_no=page.no, text=page.text, char_start=char_start))
        char_start += len(page.text)
    return DocumentRow(
        corp_id=corp_id,
        sha256=file.sha256,
        parser=parsed.parser,
        filename=file.name,
        media_type=parsed.media_type,
        size_bytes=file.size,
        pages=tuple(pages),
        doc_type=_guess_type(pages[0].text if pages else ""),
        ocr_pages=parsed.ocr_pages,
        lang=parsed.lang,
        warnings=tuple(warnings),
    )


def _guess_type(first_page: str) -> DocType:
    head = first_page[:_TITLE_CHARS]
    return next((kind for kind, pattern in _DOC_TYPES if pattern.search(head)), DocType.OTHER)


def _warn(ctx: StepContext, out: DocumentOut) -> None:
    if out.error_code is not None:
        ctx.warn(out.error_code, out.message or out.error_code, subject=out.name)
    for warning in out.warnings:
        code, _, message = warning.partition(": ")
        ctx.warn(code, message, subject=out.name, partial=code in _PARTIAL_WARNINGS)
