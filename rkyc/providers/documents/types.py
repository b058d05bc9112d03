"""What reading a document gives: pages of text, and warnings.

`Page.text` is the reference for every quote: offsets are code points into it, and nothing changes it
after it was read. Line ends, ligatures and decomposed Hangul stay as the file has them; only what
Postgres can't hold is taken out (see `text.make_storable`). Everything here can be pickled.
"""

from __future__ import annotations

from dataclasses import dataclass

PARSER_VERSION = "1"  # Part of a parsed document's identity: raise it when a parser gives other text.


@dataclass(frozen=True, slots=True)
class DocumentWarning:
    """Something the reader of a document should know; `page` counts from 1, None is the whole file."""

    code: str
    message: str
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page. Without a text layer `text` holds at most stray characters, and OCR is needed."""

    no: int
    text: str
    has_text_layer: bool = True


@dataclass(frozen=True, slots=True)
class Extract:
    """What one parser found. `concealed` is text that a reader of the page doesn't see: it is left out
    of the pages, but still looked through for instructions to a model."""

    pages: tuple[Page, ...]
    warnings: tuple[DocumentWarning, ...] = ()
    concealed: str = ""


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A document as text. `media_type` is that of the bytes, `lang` is ko, en or None (not clear)."""

    media_type: str
    parser: str
    pages: tuple[Page, ...]
    warnings: tuple[DocumentWarning, ...]
    lang: str | None
    ocr_pages: int = 0


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """How much one document may be. What is longer in pages or text is cut, with a warning."""

    bytes_max: int = 50 * 2**20
    pages_max: int = 2_000
    text_chars_max: int = 5_000_000
    # Sum over an Office file's members: a 50 MB file of real paper stays far below it.
    unpacked_bytes_max: int = 500 * 2**20
    archive_members_max: int = 10_000
    text_chars_min: int = 100  # Below it the document is reported as (nearly) empty.


DEFAULT_LIMITS = DocumentLimits()
