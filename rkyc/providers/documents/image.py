"""Pictures as documents: pages that hold no text until something reads them.

Nothing is recognised here. The pages of a TIFF are counted, so that a fax of three pages is reported
as three.
"""

from __future__ import annotations

import struct

from rkyc.errors import InvalidFileError
from rkyc.providers.documents.sniff import TIFF
from rkyc.providers.documents.types import DocumentLimits, Extract, Page

_ENTRY_BYTES = 12


def read_image(name: str, data: bytes, media_type: str, limits: DocumentLimits) -> Extract:
    """Return one empty page for each picture in the file.

    Raises:
        InvalidFileError: a TIFF whose directory is damaged.
    """
    count = _count_tiff_pages(name, data, limits.pages_max) if media_type == TIFF else 1
    return Extract(tuple(Page(no, "", has_text_layer=False) for no in range(1, count + 1)))


def _count_tiff_pages(name: str, data: bytes, pages_max: int) -> int:
    order = "<" if data.startswith(b"II") else ">"
    seen: set[int] = set()
    try:
        (offset,) = struct.unpack_from(order + "I", data, 4)
        # A directory that points back would go on for ever.
        while offset and offset not in seen and len(seen) < pages_max:
            seen.add(offset)
            (entries,) = struct.unpack_from(order + "H", data, offset)
            (offset,) = struct.unpack_from(order + "I", data, offset + 2 + entries * _ENTRY_BYTES)
    except struct.error as error:
        raise InvalidFileError(f"{name}: the TIFF is damaged or cut off; scan or send it again") from error
    return max(len(seen), 1)
