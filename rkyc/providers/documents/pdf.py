"""PDF to text, by pdfium.

Text is what pdfium extracts, with its line ends (CR LF); its marker for a hyphen at the end of a line
(U+FFFE) is put back to the hyphen that is printed there. A page that shows an image and no words to
speak of is a scan: it is reported as a page without a text layer. Words that can't be seen are kept,
since an OCR layer is such text, but flagged where no image lies behind them.

pdfium is not thread-safe: one lock per process. It is native code that reads hostile files: callers
run it in a child process.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from threading import Lock

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_raw

from rkyc.errors import InvalidFileError
from rkyc.providers.documents.types import DocumentLimits, DocumentWarning, Extract, Page

_PDFIUM = Lock()
_Box = tuple[float, float, float, float]

# A stamp or a page number over a scan is shorter than this; a page of prose is longer.
_SCAN_CHARS_MAX = 30
_SCAN_IMAGE_SHARE = 0.5
_TINY_POINTS = 2.0  # Smaller type than this is not meant to be read.
_WHITE = 250  # Of 255, in each colour.
_OBJECTS_MAX = 200_000  # Per document: a check of a drawing must not take minutes.


def read_pdf(name: str, data: bytes, limits: DocumentLimits) -> Extract:
    """Return the text of each page.

    Raises:
        InvalidFileError: not a PDF inside, damaged, or it needs a password.
    """
    with _PDFIUM:
        document = _open(name, data)
        try:
            return _read_pages(name, document, limits)
        finally:
            document.close()


def _open(name: str, data: bytes) -> pdfium.PdfDocument:
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        locked = getattr(error, "err_code", None) in (
            pdfium_raw.FPDF_ERR_PASSWORD,
            pdfium_raw.FPDF_ERR_SECURITY,
        )
        if locked:
            raise InvalidFileError(f"{name}: the PDF has a password; save it without one") from error
        raise InvalidFileError(f"{name}: the PDF is damaged or cut off; export or send it again") from error
    if len(document) == 0:
        document.close()
        raise InvalidFileError(f"{name}: the PDF has no pages; export it again")
    return document


def _read_pages(name: str, document: pdfium.PdfDocument, limits: DocumentLimits) -> Extract:
    pages: list[Page] = []
    warnings: list[DocumentWarning] = []
    unseen_pages: list[int] = []
    objects_left = _OBJECTS_MAX
    for index in range(min(len(document), limits.pages_max)):
        no = index + 1
        try:
            page = document[index]
            text = _page_text(page)
        except pdfium.PdfiumError:
            message = "the page is damaged and was not read"
            warnings.append(DocumentWarning("page_unreadable", message, no))
            pages.append(Page(no, "", has_text_layer=False))
            continue
        drawn = list(_drawn(page, objects_left))
        objects_left -= len(drawn)
        pages.append(Page(no, text, has_text_layer=not _is_scan(page, text, drawn)))
        if _has_unseen_text(drawn):
            unseen_pages.append(no)
        page.close()
    if len(document) > limits.pages_max:
        message = f"the file has {len(document)} pages; the first {limits.pages_max} were read"
        warnings.append(DocumentWarning("pages_truncated", message))
    if unseen_pages:
        message = f"white or tiny text that a reader does not see, on {len(unseen_pages)} page(s)"
        warnings.append(DocumentWarning("hidden_text", message, unseen_pages[0]))
    if all(warning.code == "page_unreadable" for warning in warnings) and len(warnings) == len(pages):
        raise InvalidFileError(f"{name}: no page of the PDF can be read; export or send it again")
    return Extract(tuple(pages), tuple(warnings))


def _page_text(page: pdfium.PdfPage) -> str:
    text_page = page.get_textpage()
    try:
        text: str = text_page.get_text_range()
    finally:
        text_page.close()
    return text.replace("\ufffe", "-")


def _drawn(page: pdfium.PdfPage, objects_max: int) -> Iterator[pdfium.PdfObject]:
    for count, thing in enumerate(page.get_objects(max_depth=4)):
        if count >= objects_max:
            return
        yield thing


def _is_scan(page: pdfium.PdfPage, text: str, drawn: list[pdfium.PdfObject]) -> bool:
    """Claim that the page shows pictures where words are expected."""
    if len("".join(text.split())) >= _SCAN_CHARS_MAX:
        return False
    if not text.strip():
        # Outlined letters are paths; an empty page has neither.
        return any(thing.type != pdfium_raw.FPDF_PAGEOBJ_TEXT for thing in drawn)
    width, height = page.get_size()
    images = (_bounds(thing) for thing in drawn if thing.type == pdfium_raw.FPDF_PAGEOBJ_IMAGE)
    largest = max(((right - left) * (top - bottom) for left, bottom, right, top in images), default=0.0)
    return bool(largest >= _SCAN_IMAGE_SHARE * width * height)


def _has_unseen_text(drawn: list[pdfium.PdfObject]) -> bool:
    backgrounds: list[_Box] | None = None
    for thing in drawn:
        if thing.type != pdfium_raw.FPDF_PAGEOBJ_TEXT or not _is_faint(thing):
            continue
        if backgrounds is None:
            backgrounds = [_bounds(other) for other in drawn if _is_background(other)]
        left, bottom, right, top = _bounds(thing)
        if right <= left:
            continue  # A run of spaces.
        x, y = (left + right) / 2, (bottom + top) / 2
        if not any(box[0] <= x <= box[2] and box[1] <= y <= box[3] for box in backgrounds):
            return True
    return False


def _is_faint(thing: pdfium.PdfObject) -> bool:
    if pdfium_raw.FPDFTextObj_GetTextRenderMode(thing) == pdfium_raw.FPDF_TEXTRENDERMODE_INVISIBLE:
        return True
    size = ctypes.c_float()
    if pdfium_raw.FPDFTextObj_GetFontSize(thing, size):
        matrix = thing.get_matrix()
        scale = max(abs(matrix.b), abs(matrix.d))
        if size.value * scale < _TINY_POINTS:
            return True
    return _is_white(thing)


def _is_background(thing: pdfium.PdfObject) -> bool:
    if thing.type == pdfium_raw.FPDF_PAGEOBJ_PATH:
        return not _is_white(thing)
    return bool(thing.type in (pdfium_raw.FPDF_PAGEOBJ_IMAGE, pdfium_raw.FPDF_PAGEOBJ_SHADING))


def _is_white(thing: pdfium.PdfObject) -> bool:
    red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
    if not pdfium_raw.FPDFPageObj_GetFillColor(thing, red, green, blue, alpha):
        return False
    return alpha.value == 0 or min(red.value, green.value, blue.value) >= _WHITE


def _bounds(thing: pdfium.PdfObject) -> _Box:
    """Return left, bottom, right, top in points."""
    try:
        left, bottom, right, top = thing.get_bounds()
    except pdfium.PdfiumError:
        return (0.0, 0.0, 0.0, 0.0)
    return (left, bottom, right, top)
