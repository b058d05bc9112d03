"""Bytes to characters, and characters that the database can hold.

Decoding is tried in a fixed order, so that the same bytes always give the same text: a byte order
mark, UTF-8, the Korean code page, and only then a guess, which is told in a warning. Line ends and
normalisation forms are left alone: quotes are compared with this text.
"""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

from rkyc.providers.documents.types import DocumentWarning

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TRIED = ("utf-8", "cp949")  # cp949 is a superset of EUC-KR.
_BAD_SHARE_MAX = (
    200  # A text may hold one undecodable place in this many characters: cut or damaged, not another.
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
_KANA = re.compile("[\u3040-\u30ff]")
_LATIN = re.compile("[A-Za-z]")
_LETTER = re.compile(r"[^\W\d_]")
_SAMPLE_CHARS = 100_000  # Enough to tell a language; a whole filing would only take longer.


def make_storable(text: str) -> str:
    """Take out what Postgres refuses: NUL is removed, a lone surrogate becomes U+FFFD."""
    return _SURROGATE.sub("\ufffd", text.replace("\x00", ""))


def decode(data: bytes) -> tuple[str, tuple[DocumentWarning, ...]]:
    """Return the text and, where the encoding had to be guessed, a warning. Never fails."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace"), ()
    for encoding in _TRIED:
        text = data.decode(encoding, errors="replace")
        bad = text.count("\ufffd")
        if bad * _BAD_SHARE_MAX > len(text) or (encoding != "utf-8" and not _is_korean(text)):
            continue
        if not bad or _is_exact(data, encoding):
            return text, ()
        message = (
            f"{bad} place(s) are no {encoding} and were replaced by U+FFFD; the file may be cut or damaged"
        )
        return text, (DocumentWarning("encoding_guessed", message),)
    best = from_bytes(data).best()
    encoding = best.encoding if best is not None else "latin-1"
    message = f"the text is not UTF-8; it was read as {encoding}: save it as UTF-8 if characters look wrong"
    return data.decode(encoding, errors="replace"), (DocumentWarning("encoding_guessed", message),)


def _is_exact(data: bytes, encoding: str) -> bool:
    """Claim that each U+FFFD of the text stands in the file itself."""
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_korean(text: str) -> bool:
    """Claim that most of what is not ASCII is Hangul: any bytes can be read as some cp949."""
    letters = [char for char in text if not char.isascii() and char.isalpha()]
    hangul = sum(1 for char in letters if _HANGUL.match(char))
    return bool(letters) and hangul * 2 > len(letters)


def guess_language(text: str) -> str | None:
    """Return ko, en or None (neither, mixed or too little to tell)."""
    sample = text[:_SAMPLE_CHARS]
    letters = len(_LETTER.findall(sample))
    if letters < 20:
        return None
    if len(_HANGUL.findall(sample)) * 5 >= letters:
        return "ko"
    if _KANA.search(sample):
        return None
    return "en" if len(_LATIN.findall(sample)) * 5 >= letters * 4 else None
