"""Small documents made on the spot: PDF, DOCX, XLSX, XBRL, as bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence

import docx
import openpyxl
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

_KOREAN_FONT = "HYSMyeongJo-Medium"


def make_pdf(pages: Iterable[Sequence[str]], *, password: str | None = None) -> bytes:
    """Return a PDF with one line of text per string, at most 50 a page."""
    pdfmetrics.registerFont(UnicodeCIDFont(_KOREAN_FONT))
    buffer = io.BytesIO()
    encryption = StandardEncryption(password, "owner") if password else None
    canvas = Canvas(buffer, invariant=1, encrypt=encryption)
    for lines in pages:
        for index, line in enumerate(lines):
            canvas.setFont("Helvetica" if line.isascii() else _KOREAN_FONT, 9)
            canvas.drawString(40, 800 - 15 * index, line)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def make_docx(paragraphs: Iterable[str]) -> bytes:
    document = docx.Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    return save_docx(document)


def save_docx(document: docx.document.Document) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def make_xlsx(sheets: Mapping[str, Sequence[Sequence[object]]]) -> bytes:
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for title, rows in sheets.items():
        sheet = workbook.create_sheet(title)
        for row in rows:
            sheet.append(list(row))
    return save_xlsx(workbook)


def save_xlsx(workbook: openpyxl.Workbook) -> bytes:
    buffer = io.BytesIO()
    workbook.save(buffer)
    return buffer.getvalue()


def replace_member(archive: bytes, name: str, content: bytes) -> bytes:
    """Return a copy of a zip archive with one member's content replaced."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(buffer, "w") as target:
        for member in source.namelist():
            target.writestr(member, content if member == name else source.read(member))
    return buffer.getvalue()


def make_xbrl(
    facts: Iterable[tuple[str, str, object]], *, dei: Mapping[str, str] | None = None, extra: str = ""
) -> bytes:
    """Return an instance. A fact is (us-gaap element, context, value); a context is a date or `start/end`.

    `extra` is put in as it stands, after the contexts.
    """
    listed = list(facts)
    contexts = {context for _, context, _ in listed}
    stated = dei or {}
    if stated:
        contexts.add("2024-01-01/2024-12-31")
    bodies = [
        f'<context id="{_context_id(context)}"><entity><identifier scheme="s">1</identifier></entity>'
        f"<period>{_period(context)}</period></context>"
        for context in sorted(contexts)
    ]
    cover = _context_id("2024-01-01/2024-12-31")
    bodies += [f'<dei:{name} contextRef="{cover}">{value}</dei:{name}>' for name, value in stated.items()]
    bodies += [
        f'<us-gaap:{name} contextRef="{_context_id(context)}" unitRef="usd" decimals="-3">{value}</us-gaap:{name}>'
        for name, context, value in listed
    ]
    return (
        '<?xml version="1.0" encoding="utf-8"?><xbrl xmlns="http://www.xbrl.org/2003/instance" '
        'xmlns:us-gaap="http://fasb.org/us-gaap/2023" xmlns:dei="http://xbrl.sec.gov/dei/2023" '
        'xmlns:iso4217="http://www.xbrl.org/2003/iso4217" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        '<unit id="usd"><measure>iso4217:USD</measure></unit><unit id="krw"><measure>iso4217:KRW</measure></unit>'
        '<unit id="shares"><measure>shares</measure></unit>' + extra + "".join(bodies) + "</xbrl>"
    ).encode()


def _context_id(context: str) -> str:
    return "c_" + context.replace("/", "_")


def _period(context: str) -> str:
    start, _, end = context.rpartition("/")
    if start:
        return f"<startDate>{start}</startDate><endDate>{end}</endDate>"
    return f"<instant>{end}</instant>"
