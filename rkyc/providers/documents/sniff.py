"""The type of a file, by its bytes.

A name is only asked where the bytes leave a choice: whether plain text is Markdown or a table, and
whether text with tags in it is meant as HTML. A file that is damaged or locked in a way that its
container shows (a broken or encrypted archive, an encrypted Office file) is refused here.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import PurePosixPath

from rkyc.errors import InvalidFileError
from rkyc.providers.documents.unpack import ARCHIVE_ERRORS

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
HWP = "application/x-hwp"
HWPX = "application/hwp+zip"
HTML = "text/html"
TEXT = "text/plain"
MARKDOWN = "text/markdown"
CSV = "text/csv"
PNG = "image/png"
JPEG = "image/jpeg"
TIFF = "image/tiff"
IMAGES = frozenset({PNG, JPEG, TIFF})
PLAIN = frozenset({TEXT, MARKDOWN, CSV})
UNKNOWN = "application/octet-stream"

EXTENSIONS = {
    ".pdf": PDF, ".docx": DOCX, ".xlsx": XLSX, ".hwp": HWP, ".hwpx": HWPX,
    ".html": HTML, ".htm": HTML, ".txt": TEXT, ".md": MARKDOWN, ".csv": CSV,
    ".png": PNG, ".jpg": JPEG, ".jpeg": JPEG, ".tif": TIFF, ".tiff": TIFF,
}  # fmt: skip

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"{\\rtf", "application/rtf"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Rights management that wraps whole files; seen at Korean companies.
_LOCKED = (b"DRMONE", b"<## NASCA DRM")
_ARCHIVE_MEMBERS = (
    ("word/document.xml", DOCX),
    ("xl/workbook.xml", XLSX),
    ("Contents/content.hpf", HWPX),
    ("ppt/presentation.xml", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
)
_ENCRYPTED_MEMBER = 0x1  # Bit 0 of a zip member's flags.
_HEAD_BYTES = 65_536
_HTML_START = re.compile(
    r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
_TAG = re.compile(r"<(p|div|span|table|br|h[1-6]|ul|ol|a|b|i)\b[^>]*>", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")


def sniff(name: str, data: bytes) -> str:
    """Return the media type of the bytes (`UNKNOWN` if nothing is recognised).

    Raises:
        InvalidFileError: a damaged archive, or an encrypted archive or Office file.
    """
    for magic, media_type in _MAGIC:
        if data.startswith(magic):
            return media_type
    if b"%PDF-" in data[:1024]:
        return PDF
    if any(mark in data[:64] for mark in _LOCKED):
        raise InvalidFileError(f"{name}: the file is locked by rights management; save it without protection")
    if data.startswith(_OLE):
        return _sniff_ole(name, data)
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _sniff_archive(name, data)
    return _sniff_text(name, data)


def extension_type(name: str) -> str | None:
    """Return the media type that a file name promises, None for an extension that says nothing."""
    return EXTENSIONS.get(PurePosixPath(name).suffix.lower())


def _sniff_ole(name: str, data: bytes) -> str:
    def has_entry(entry: str) -> bool:
        return entry.encode("utf-16-le") in data

    if has_entry("EncryptedPackage"):
        raise InvalidFileError(f"{name}: the Office file has a password; save it without one")
    if b"HWP Document File" in data:
        return HWP
    if has_entry("WordDocument"):
        return "application/msword"
    return "application/vnd.ms-excel" if has_entry("Workbook") else UNKNOWN


def _sniff_archive(name: str, data: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: info for info in archive.infolist()}
    except ARCHIVE_ERRORS as error:
        raise InvalidFileError(f"{name}: the archive is damaged or cut off; save or send it again") from error
    if any(info.flag_bits & _ENCRYPTED_MEMBER for info in members.values()):
        raise InvalidFileError(f"{name}: the archive has a password; save it without one")
    for member, media_type in _ARCHIVE_MEMBERS:
        if member in members:
            return media_type
    return "application/zip"


def _sniff_text(name: str, data: bytes) -> str:
    head = data[:_HEAD_BYTES]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = head.decode("utf-16", errors="ignore")
    else:
        # Only ASCII structure is looked at, and every encoding that we read keeps ASCII in its place.
        text = head.decode("latin-1").removeprefix("\xef\xbb\xbf")
    if len(_CONTROL.findall(text)) * 100 > len(text):
        return UNKNOWN
    promised = extension_type(name)
    if _HTML_START.match(text) or (promised == HTML and _TAG.search(text)):
        return HTML
    if text.lstrip().startswith("<?xml"):
        return "application/xml"
    return promised if promised in PLAIN else TEXT
