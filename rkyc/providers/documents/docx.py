"""DOCX to text: paragraphs and tables in document order, headers, footers and notes.

The XML is walked, not python-docx's paragraphs: those leave out tracked insertions, content controls
and text boxes. A row of a table is one line, its cells joined by tabs. Page 1 opens with the headers,
the last page ends with the footers and notes. Pages follow explicit page breaks and the breaks that
Word noted when it last laid the file out; a row is never split. Text with the hidden attribute,
deleted text and comments are no part of the page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import docx
from docx.opc.exceptions import OpcError
from docx.opc.part import Part
from lxml import etree

from rkyc.errors import InvalidFileError
from rkyc.providers.documents.types import DocumentLimits, DocumentWarning, Extract, Page
from rkyc.providers.documents.unpack import ARCHIVE_ERRORS

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_VAL = _W + "val"
# XML can't hold these two characters, so they can't come from the file.
_BREAK = "\f"  # Written by the author: a page follows, though it be empty.
_LAID_OUT = "\v"  # Noted by Word, often beside the author's own: counts only where the page has text.
_MARKS = re.compile(f"[{_BREAK}{_LAID_OUT}]")
# python-docx trusts the package it opens: a missing or odd part shows as any of these.
_DAMAGED = (
    *ARCHIVE_ERRORS, OpcError, etree.LxmlError,
    KeyError, TypeError, AttributeError, IndexError, AssertionError,
)  # fmt: skip
_SKIPPED = frozenset(
    {"pPr", "rPr", "tblPr", "trPr", "tcPr", "del", "moveFrom", "instrText", "delText", "Fallback"}
)
_TINY_HALF_POINTS = 4


def read_docx(name: str, data: bytes, limits: DocumentLimits) -> Extract:
    """Return the text of each page.

    Raises:
        InvalidFileError: the package is damaged or is no Word document.
    """
    walk = _Walk()
    try:
        document = docx.Document(io.BytesIO(data))
        body = "".join(walk.blocks(document.element.body))
        around = {
            kind: _related(document.part, kind, walk)
            for kind in ("header", "footer", "footnotes", "endnotes")
        }
        comments = _related(document.part, "comments", _Walk())
    except _DAMAGED as error:
        raise InvalidFileError(f"{name}: the Word file is damaged; open and save it again") from error
    texts = _split_pages(around["header"] + body)
    texts[-1] = "\n".join(
        filter(None, [texts[-1].rstrip("\n"), around["footer"] + around["footnotes"] + around["endnotes"]])
    )
    warnings: list[DocumentWarning] = []
    if len(texts) > limits.pages_max:
        message = f"the file has {len(texts)} pages; the first {limits.pages_max} were read"
        warnings.append(DocumentWarning("pages_truncated", message))
    if walk.hidden or walk.faint_runs:
        message = (
            f"{len(walk.hidden)} run(s) of hidden text left out, {walk.faint_runs} white or tiny one(s) kept"
        )
        warnings.append(DocumentWarning("hidden_text", message))
    pages = tuple(Page(no, text.strip("\n")) for no, text in enumerate(texts[: limits.pages_max], start=1))
    return Extract(pages, tuple(warnings), concealed="\n".join([*walk.hidden, comments]))


def _related(part: Part, kind: str, walk: _Walk) -> str:
    """Return the text of the parts of one kind, in order of their names, copies once."""
    targets = {
        str(relation.target_part.partname): relation.target_part.blob
        for relation in part.rels.values()
        if not relation.is_external and relation.reltype.endswith("/" + kind)
    }
    # No entities and no network: the part comes from a stranger.
    texts = (
        "".join(walk.blocks(etree.fromstring(blob, etree.XMLParser(resolve_entities=False, no_network=True))))
        for _, blob in sorted(targets.items())
    )
    return "".join(dict.fromkeys(_MARKS.sub("", text) for text in texts if text.strip()))


def _split_pages(text: str) -> list[str]:
    pages = [""]
    for piece in re.split(f"([{_BREAK}{_LAID_OUT}])", text):
        if piece == _BREAK or (piece == _LAID_OUT and pages[-1].strip()):
            pages.append("")
        elif piece != _LAID_OUT:
            pages[-1] += piece
    return pages


class _Walk:
    """One pass over a part's XML; remembers what a reader would not have seen."""

    def __init__(self) -> None:
        self.hidden: list[str] = []
        self.faint_runs = 0

    def blocks(self, parent: etree._Element) -> Iterator[str]:
        """Give each paragraph and table row below `parent`, ended by a line feed."""
        for child in parent.iterchildren(tag=etree.Element):
            match _local(child):
                case "p":
                    yield from self._paragraph(child)
                case "tbl":
                    for row in child.iter(_W + "tr"):
                        # An inner table's rows belong to the cell that holds it.
                        if next(row.iterancestors(_W + "tbl")) is child:
                            yield self._row(row)
                case skipped if skipped in _SKIPPED:
                    continue
                case _:
                    yield from self.blocks(child)

    def _row(self, row: etree._Element) -> str:
        cells = [cell for cell in row.iter(_W + "tc") if next(cell.iterancestors(_W + "tr")) is row]
        line = "\t".join("".join(self.blocks(cell)).rstrip("\n") for cell in cells)
        marks = _MARKS.findall(line)
        return (marks[0] if marks else "") + _MARKS.sub("", line) + "\n"

    def _paragraph(self, paragraph: etree._Element) -> Iterator[str]:
        boxes: list[etree._Element] = []
        before = paragraph.find(f"{_W}pPr/{_W}pageBreakBefore")
        text = _LAID_OUT if before is not None and _is_on(before) else ""
        yield text + "".join(self._inline(paragraph, boxes)) + "\n"
        for box in boxes:
            yield from self.blocks(box)

    def _inline(self, parent: etree._Element, boxes: list[etree._Element]) -> Iterator[str]:
        for child in parent.iterchildren(tag=etree.Element):
            kind = _local(child)
            if kind in _SKIPPED:
                continue
            if kind == "txbxContent":
                boxes.append(child)
            elif kind == "t":
                yield child.text or ""
            elif kind == "r":
                yield from self._run(child, boxes)
            else:
                yield _sign(kind, child) or "".join(self._inline(child, boxes))

    def _run(self, run: etree._Element, boxes: list[etree._Element]) -> Iterator[str]:
        text = "".join(self._inline(run, boxes))
        look = run.find(_W + "rPr")
        if look is not None and text.strip():
            vanish = look.find(_W + "vanish")
            if vanish is not None and _is_on(vanish):
                self.hidden.append(text)
                return
            self.faint_runs += _is_faint(run, look)
        yield text


def _sign(kind: str, element: etree._Element) -> str:
    match kind:
        case "tab":
            return "\t"
        case "br":
            return _BREAK if element.get(_W + "type") == "page" else "\n"
        case "cr":
            return "\n"
        case "noBreakHyphen":
            return "-"
        case "lastRenderedPageBreak":
            return _LAID_OUT
    return ""


def _is_faint(run: etree._Element, look: etree._Element) -> bool:
    """Claim that a run is tiny, or white on no colour."""
    size = look.find(_W + "sz")
    if (
        size is not None
        and (size.get(_VAL) or "").isdigit()
        and int(size.get(_VAL, "0")) <= _TINY_HALF_POINTS
    ):
        return True
    color = look.find(_W + "color")
    if color is None or (color.get(_VAL) or "").upper() != "FFFFFF":
        return False
    around = [look, *(parent[0] for parent in run.iterancestors())]  # Properties come first in each.
    shades = (shade for properties in around for shade in properties.iterchildren(_W + "shd"))
    return not any((shade.get(_W + "fill") or "auto").upper() not in ("AUTO", "FFFFFF") for shade in shades)


def _is_on(switch: etree._Element) -> bool:
    return switch.get(_VAL, "1") not in ("0", "false", "off")


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname
