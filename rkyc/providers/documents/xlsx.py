"""XLSX to text: one page a sheet, its name first, then a line a row, cells joined by tabs.

Values are those that the spreadsheet program saved: formulas are not computed, and a file whose
formulas were never computed says so. Empty rows and trailing empty cells are left out. A hidden sheet
is read and flagged.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from xml.etree.ElementTree import ParseError

import openpyxl
from lxml import etree
from openpyxl.utils.exceptions import InvalidFileException

from rkyc.errors import InvalidFileError
from rkyc.providers.documents.types import DocumentLimits, DocumentWarning, Extract, Page
from rkyc.providers.documents.unpack import ARCHIVE_ERRORS

# openpyxl trusts the package it opens: a missing or odd part shows as any of these.
_DAMAGED = (
    *ARCHIVE_ERRORS, InvalidFileException, ParseError, etree.LxmlError,
    KeyError, TypeError, AttributeError, IndexError, AssertionError,
)  # fmt: skip
_UNCOMPUTED = re.compile(rb"</f>\s*(<v\s*/>|<v>\s*</v>|</c>)")


def read_xlsx(name: str, data: bytes, limits: DocumentLimits) -> Extract:
    """Return the text of each sheet.

    Raises:
        InvalidFileError: the package is damaged or is no workbook.
    """
    try:
        workbook = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        try:
            return _read_sheets(workbook, limits, uncomputed=_count_uncomputed(data))
        finally:
            workbook.close()
    except _DAMAGED as error:
        raise InvalidFileError(f"{name}: the Excel file is damaged; open and save it again") from error


def _read_sheets(workbook: Any, limits: DocumentLimits, *, uncomputed: int) -> Extract:
    sheets = workbook.worksheets
    pages: list[Page] = []
    warnings: list[DocumentWarning] = []
    chars_left = limits.text_chars_max
    for no, sheet in enumerate(sheets[: limits.pages_max], start=1):
        # The size that a sheet declares may be its largest possible one.
        sheet.reset_dimensions()
        lines = [str(sheet.title)]
        for line in _lines(sheet):
            if chars_left <= 0:
                break
            lines.append(line)
            chars_left -= len(line) + 1
        pages.append(Page(no, "\n".join(lines)))
        if sheet.sheet_state != "visible":
            warnings.append(
                DocumentWarning("hidden_text", "the sheet is hidden; it was read all the same", no)
            )
    if chars_left <= 0:
        message = f"only the first {limits.text_chars_max} characters were read; split the file"
        warnings.append(DocumentWarning("text_truncated", message))
    if len(sheets) > limits.pages_max:
        message = f"the file has {len(sheets)} sheets; the first {limits.pages_max} were read"
        warnings.append(DocumentWarning("pages_truncated", message))
    if uncomputed:
        message = (
            f"{uncomputed} formula(s) have no saved value and were left empty; open and save it in Excel"
        )
        warnings.append(DocumentWarning("formula_without_value", message))
    return Extract(tuple(pages), tuple(warnings))


def _lines(sheet: Any) -> Iterator[str]:
    for row in sheet.iter_rows(values_only=True):
        line = "\t".join(_cell_text(value) for value in row).rstrip("\t")
        if line.strip():
            yield line


def _cell_text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "TRUE" if value else "FALSE"
        case float():
            return _number_text(value)
        case datetime():
            is_day = value.time() == time(0)
            return value.date().isoformat() if is_day else value.isoformat(sep=" ", timespec="seconds")
        case date() | time() | timedelta() | int():
            return str(value)
    return str(value)


def _number_text(value: float) -> str:
    """Write a number as Excel shows it: at most 15 significant digits, no exponent, no trailing zeros."""
    text = f"{Decimal(f'{value:.15g}'):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _count_uncomputed(data: bytes) -> int:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sheets = [member for member in archive.namelist() if member.startswith("xl/worksheets/sheet")]
        return sum(len(_UNCOMPUTED.findall(archive.read(member))) for member in sheets)
