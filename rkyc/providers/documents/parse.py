"""A document's bytes to pages of text: the one door to the parsers.

`parse_document` is synchronous and may be slow; it reads hostile files with native libraries, so the
engine runs it in a child process. It invents nothing: a page that can't be read as text is reported
as such. Every refusal is an `InvalidFileError` or a subclass, and says what to do. A reader is imported
with the first document of its type: the libraries below them are half of what a process would import.
"""

from __future__ import annotations

from dataclasses import replace

from rkyc.errors import FileTooLargeError, InvalidFileError, UnsupportedTypeError
from rkyc.providers.documents import sniff
from rkyc.providers.documents.suspicion import find_suspicions
from rkyc.providers.documents.text import decode, guess_language, make_storable
from rkyc.providers.documents.types import (
    DEFAULT_LIMITS,
    PARSER_VERSION,
    DocumentLimits,
    DocumentWarning,
    Extract,
    Page,
    ParsedDocument,
)
from rkyc.providers.documents.unpack import check_archive, gunzip

_READ_TYPES = "pdf, docx, xlsx, html, txt, md, csv"
_ADVICE = {
    sniff.HWP: "this version does not read HWP yet: save it as PDF or DOCX",
    sniff.HWPX: "this version does not read HWPX yet: save it as PDF or DOCX",
    "application/msword": "the old Word format is not read: save it as DOCX",
    "application/vnd.ms-excel": "the old Excel format is not read: save it as XLSX",
    "application/rtf": "RTF is not read: save it as DOCX",
    "application/zip": "an archive is not read: add the files in it one by one",
    "application/xml": "plain XML is not read: a statement in XBRL belongs beside corp.json as *.xbrl.xml",
}


def parse_document(name: str, data: bytes, *, limits: DocumentLimits = DEFAULT_LIMITS) -> ParsedDocument:
    """Read a document; the same bytes, name and limits always give the same result.

    Raises:
        InvalidFileError: empty, damaged, or locked by a password.
        UnsupportedTypeError: a type that is not read.
        FileTooLargeError: over `limits`, packed or unpacked.
    """
    if not data:
        raise InvalidFileError(f"{name}: the file is empty (0 bytes); send it again")
    if len(data) > limits.bytes_max:
        raise FileTooLargeError(
            f"{name}: {len(data)} bytes, at most {limits.bytes_max} are read; split or compress it",
            {"bytes": len(data), "bytes_max": limits.bytes_max},
        )
    name, data = gunzip(name, data, limits.bytes_max)
    if not data:
        raise InvalidFileError(f"{name}: the file is empty (0 bytes unpacked); send it again")
    media_type = sniff.sniff(name, data)
    kind, extract = _read(name, data, media_type, limits)
    extract = _cut(_storable(extract), limits.text_chars_max)
    warnings = (
        *_check_extension(name, media_type),
        *extract.warnings,
        *_check_text(extract.pages, limits),
        *find_suspicions(extract.pages, extract.concealed),
    )
    language = guess_language("\n".join(page.text for page in extract.pages))
    return ParsedDocument(media_type, f"{kind}/{PARSER_VERSION}", extract.pages, warnings, language)


def _read(name: str, data: bytes, media_type: str, limits: DocumentLimits) -> tuple[str, Extract]:
    """Return the parser's name and what it found."""
    match media_type:
        case sniff.PDF:
            from rkyc.providers.documents.pdf import read_pdf

            return "pdf", read_pdf(name, data, limits)
        case sniff.DOCX:
            from rkyc.providers.documents.docx import read_docx

            check_archive(name, data, limits)
            return "docx", read_docx(name, data, limits)
        case sniff.XLSX:
            from rkyc.providers.documents.xlsx import read_xlsx

            check_archive(name, data, limits)
            return "xlsx", read_xlsx(name, data, limits)
        case sniff.HTML:
            from rkyc.providers.documents.html import read_html

            return "html", read_html(name, data)
        case plain if plain in sniff.PLAIN:
            text, warnings = decode(data)
            return "text", Extract((Page(1, text),), warnings)
        case picture if picture in sniff.IMAGES:
            from rkyc.providers.documents.image import read_image

            return "image", read_image(name, data, picture, limits)
    advice = _ADVICE.get(media_type, f"its type is not known; these are read: {_READ_TYPES}")
    raise UnsupportedTypeError(f"{name}: {advice}", {"media_type": media_type})


def _storable(extract: Extract) -> Extract:
    return replace(
        extract, pages=tuple(replace(page, text=make_storable(page.text)) for page in extract.pages)
    )


def _cut(extract: Extract, chars_max: int) -> Extract:
    """Keep the first `chars_max` characters over all pages; later pages stay, empty."""
    total = sum(len(page.text) for page in extract.pages)
    if total <= chars_max:
        return extract
    pages, left = [], chars_max
    for page in extract.pages:
        pages.append(replace(page, text=page.text[:left]))
        left -= len(pages[-1].text)
    message = f"the file has {total} characters; the first {chars_max} were kept: split it"
    return replace(
        extract, pages=tuple(pages), warnings=(*extract.warnings, DocumentWarning("text_truncated", message))
    )


def _check_extension(name: str, media_type: str) -> tuple[DocumentWarning, ...]:
    promised = sniff.extension_type(name)
    if promised in (None, media_type):
        return ()
    message = f"the name says {promised}, the bytes are {media_type}; it was read by its bytes"
    return (DocumentWarning("extension_mismatch", message),)


def _check_text(pages: tuple[Page, ...], limits: DocumentLimits) -> tuple[DocumentWarning, ...]:
    unread = [page.no for page in pages if not page.has_text_layer]
    if unread:
        numbers = ", ".join(map(str, unread[:10])) + (", …" if len(unread) > 10 else "")
        message = f"{len(unread)} of {len(pages)} page(s) are pictures and were not read (page {numbers})"
        return (DocumentWarning("ocr_unavailable", message),)
    chars = sum(len("".join(page.text.split())) for page in pages)
    if chars < limits.text_chars_min:
        return (
            DocumentWarning("text_too_short", f"only {chars} characters of text in {len(pages)} page(s)"),
        )
    return ()
