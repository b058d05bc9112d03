"""Opening what is packed, without being blown up by it.

A `.gz` may unpack to as much as a document may have, no more. The members of an Office file are
summed by the sizes that the archive declares; Python's zipfile never gives more than a member
declares, so the sum bounds the real size too.
"""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import zipfile
import zlib

from rkyc.errors import FileTooLargeError, InvalidFileError
from rkyc.providers.documents.types import DocumentLimits

# What zipfile raises over damaged data: wrong offsets end in ValueError, unknown methods in
# NotImplementedError, a member marked as encrypted in RuntimeError.
ARCHIVE_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
    ValueError, OSError, EOFError, NotImplementedError, RuntimeError,
)  # fmt: skip

_GZIP = b"\x1f\x8b"
_DOCTYPES = tuple("<!DOCTYPE".encode(encoding) for encoding in ("ascii", "utf-16-le", "utf-16-be"))


def gunzip(name: str, data: bytes, bytes_max: int) -> tuple[str, bytes]:
    """Unpack gzip data once and drop `.gz` from the name; other data comes back as it is.

    Raises:
        InvalidFileError: damaged, cut off, or packed twice.
        FileTooLargeError: more than `bytes_max` when unpacked.
    """
    if not data.startswith(_GZIP):
        return name, data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            unpacked = stream.read(bytes_max + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidFileError(f"{name}: the gzip data is damaged or cut off; pack it again") from error
    if len(unpacked) > bytes_max:
        raise FileTooLargeError(
            f"{name}: unpacks to more than {bytes_max} bytes, the largest that is read; split it",
            {"bytes_max": bytes_max},
        )
    if unpacked.startswith(_GZIP):
        raise InvalidFileError(f"{name}: packed by gzip more than once; unpack it first")
    return (name[:-3] if name.lower().endswith(".gz") else name), unpacked


def check_archive(name: str, data: bytes, limits: DocumentLimits) -> None:
    """Refuse an Office archive that unpacks to too much, in bytes or by XML entities.

    Raises:
        FileTooLargeError: too many members or bytes.
        InvalidFileError: a damaged member, or a document type declaration, which Office files never have.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        _check_sizes(name, archive.infolist(), limits)
        for member in archive.namelist():
            if not member.endswith((".xml", ".rels")):
                continue
            try:
                content = archive.read(member)
            except ARCHIVE_ERRORS as error:
                raise InvalidFileError(f"{name}: the file is damaged; open and save it again") from error
            if any(mark in content for mark in _DOCTYPES):
                raise InvalidFileError(f"{name}: holds a document type declaration; open and save it again")


def _check_sizes(name: str, members: list[zipfile.ZipInfo], limits: DocumentLimits) -> None:
    unpacked_bytes = sum(member.file_size for member in members)
    if len(members) > limits.archive_members_max or unpacked_bytes > limits.unpacked_bytes_max:
        raise FileTooLargeError(
            f"{name}: holds {len(members)} parts of {unpacked_bytes} bytes unpacked; at most "
            f"{limits.archive_members_max} parts of {limits.unpacked_bytes_max} bytes are read: split it",
            {"members": len(members), "unpacked_bytes": unpacked_bytes},
        )
