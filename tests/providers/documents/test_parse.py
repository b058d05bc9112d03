"""The door to the parsers: types by bytes, limits, refusals, and text that is the reference for quotes."""

from __future__ import annotations

import gzip
import io
import pickle
import unicodedata
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rkyc.errors import FileTooLargeError, InvalidFileError, UnsupportedTypeError
from rkyc.providers.documents.parse import parse_document
from rkyc.providers.documents.types import DocumentLimits, ParsedDocument
from tests.support.papers import make_docx, make_pdf, make_xlsx

_PROSE = "The company reports a loss for the third year and has asked its lenders for more time to pay."
_KOREAN = "한빛정밀 주식회사는 삼 년 연속 순손실을 기록했으며 차입금의 만기 연장을 채권단에 요청하였다."
_PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 32
_PAPERS = [
    ("a.pdf", make_pdf([[_PROSE] * 3] * 2)),
    ("a.docx", make_docx([_PROSE, _KOREAN])),
    ("a.xlsx", make_xlsx({"s": [[1, 2.5, "x", True]] * 4})),
    ("a.html", f"<html><body><p>{_PROSE}</p><table><tr><td>{_KOREAN}</table></body></html>".encode()),
]


def codes(document: ParsedDocument) -> list[str]:
    return [warning.code for warning in document.warnings]


def test_type_is_read_from_bytes_and_a_wrong_extension_is_told() -> None:
    document = parse_document("contract.docx", make_pdf([[_PROSE, _PROSE]]))
    assert document.media_type == "application/pdf"
    assert codes(document) == ["extension_mismatch"]
    assert _PROSE in document.pages[0].text


@pytest.mark.parametrize(
    ("name", "data", "media_type"),
    [
        ("a.md", b"# Title", "text/markdown"),
        ("a.csv", b"a,b\n1,2", "text/csv"),
        ("a.txt", b"a < b", "text/plain"),
        ("a.html", b"<p>part of a page</p>", "text/html"),
        ("a.txt", b"<!DOCTYPE html><p>a page", "text/html"),
        ("a.jpg", b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        ("a.png", _PNG, "image/png"),
    ],
)
def test_media_types(name: str, data: bytes, media_type: str) -> None:
    assert parse_document(name, data).media_type == media_type


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.pdf", b"", "0 bytes"),
        ("a.pdf.gz", gzip.compress(b"", mtime=0), "0 bytes"),
        ("a.pdf", b"%PDF-1.3\nno objects here\n%%EOF", "damaged"),
        ("a.pdf", make_pdf([[_PROSE]])[:400], "damaged"),
        ("a.pdf", make_pdf([[_PROSE]], password="secret"), "password"),
        ("a.docx", make_docx([_PROSE])[:-200], "damaged"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "password"),
        ("a.txt.gz", gzip.compress(b"words " * 100, mtime=0)[:-20], "damaged"),
        ("a.txt.gz.gz", gzip.compress(gzip.compress(b"words", mtime=0), mtime=0), "more than once"),
        ("a.tiff", b"II*\x00\xff\xff\x00\x00", "damaged"),
        ("a.xlsx", b"DRMONE  protected" + b"\x00" * 100, "rights management"),
    ],
)
def test_unusable_files_are_refused_with_what_to_do(name: str, data: bytes, told: str) -> None:
    with pytest.raises(InvalidFileError, match=told) as caught:
        parse_document(name, data)
    assert caught.value.error_code == "INVALID_FILE"
    assert str(caught.value).startswith("a.")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"HWP Document File", "HWP yet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "WordDocument".encode("utf-16-le"), "DOCX"),
        (b"{\\rtf1 text}", "DOCX"),
        (b"<?xml version='1.0'?><data/>", "xbrl"),
        (bytes(range(256)) * 4, "not known"),
    ],
)
def test_unread_types_are_named(data: bytes, told: str) -> None:
    with pytest.raises(UnsupportedTypeError, match=told):
        parse_document("paper", data)


def test_hwpx_and_plain_archives_are_unsupported() -> None:
    for member, told in (("Contents/content.hpf", "HWPX yet"), ("a.txt", "archive")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(member, "x")
        with pytest.raises(UnsupportedTypeError, match=told):
            parse_document("a.hwpx", buffer.getvalue())


def test_encrypted_archive_is_refused() -> None:
    data = bytearray(make_docx([_PROSE]))
    directory = data.index(b"PK\x01\x02")
    data[directory + 8] |= 1  # The flag of the first member in the directory.
    with pytest.raises(InvalidFileError, match="password"):
        parse_document("a.docx", bytes(data))


def test_size_limits_hold_packed_and_unpacked() -> None:
    limits = DocumentLimits(bytes_max=10_000, unpacked_bytes_max=5_000)
    with pytest.raises(FileTooLargeError, match="at most 10000"):
        parse_document("a.txt", b"x" * 10_001, limits=limits)
    with pytest.raises(FileTooLargeError, match="unpacks to more than 10000"):
        parse_document("a.txt.gz", gzip.compress(b"x" * 10_000_000), limits=limits)
    with pytest.raises(FileTooLargeError, match="parts"):
        parse_document("a.xlsx", make_xlsx({"a": [["x" * 30_000]]}), limits=limits)


def test_member_that_lies_about_its_size_is_damaged() -> None:
    data = bytearray(make_xlsx({"a": [["x" * 30_000]]}))
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = (10).to_bytes(4, "little")  # Unpacked size of the first member.
    with pytest.raises(InvalidFileError, match="damaged"):
        parse_document("a.xlsx", bytes(data))


def test_file_over_50_megabytes_is_too_large() -> None:
    with pytest.raises(FileTooLargeError):
        parse_document("a.txt", b"x" * (50 * 2**20 + 1))


def test_gzip_is_unpacked_and_named_without_its_suffix() -> None:
    document = parse_document("notes.md.GZ", gzip.compress(_PROSE.encode() * 2))
    assert document.media_type == "text/markdown"
    assert document.warnings == ()
    assert document.pages[0].text == _PROSE * 2


def test_plain_text_is_kept_character_by_character() -> None:
    text = f"{_KOREAN}\r\n😀 {unicodedata.normalize('NFD', _KOREAN)}\r\n\r\n\ttab \u00a0{_PROSE}\n"
    document = parse_document("a.txt", text.encode())
    assert document.pages[0].text == text
    assert document.lang == "ko"


def test_what_postgres_refuses_is_taken_out() -> None:
    document = parse_document("a.txt", (_PROSE + "a\x00b").encode() + _PROSE.encode())
    assert "\x00" not in document.pages[0].text
    assert "ab" in document.pages[0].text


@pytest.mark.parametrize("encoding", ["cp949", "euc-kr", "utf-8-sig", "utf-16"])
def test_korean_encodings_are_recognised(encoding: str) -> None:
    document = parse_document("a.txt", (_KOREAN * 3).encode(encoding))
    assert document.pages[0].text == _KOREAN * 3
    assert document.warnings == ()


def test_other_encodings_are_guessed_and_told() -> None:
    text = "La société a réalisé une perte très élevée à l'étranger, après une année déjà difficile. " * 3
    document = parse_document("a.txt", text.encode("cp1252"))
    assert codes(document) == ["encoding_guessed"]
    assert "perte" in document.pages[0].text


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
def test_text_cut_within_a_character_keeps_its_encoding(encoding: str) -> None:
    document = parse_document("a.txt", (_KOREAN * 5).encode(encoding)[:-2])
    assert document.pages[0].text.startswith(_KOREAN * 4)
    assert codes(document) == ["encoding_guessed"]


def test_pictures_are_pages_without_text_never_invented() -> None:
    document = parse_document("scan.png", _PNG)
    assert [(page.no, page.text, page.has_text_layer) for page in document.pages] == [(1, "", False)]
    assert codes(document) == ["ocr_unavailable"]
    assert document.ocr_pages == 0


def test_tiff_pages_are_counted() -> None:
    first = b"\x00\x00" + (14).to_bytes(4, "little")
    second = b"\x00\x00" + (8).to_bytes(4, "little")  # Points back: a loop ends the count.
    document = parse_document("fax.tif", b"II*\x00" + (8).to_bytes(4, "little") + first + second)
    assert len(document.pages) == 2


def test_little_text_is_a_warning() -> None:
    assert codes(parse_document("a.txt", b"Hello.")) == ["text_too_short"]


def test_long_text_is_cut_with_a_warning() -> None:
    document = parse_document("a.txt", _PROSE.encode() * 10, limits=DocumentLimits(text_chars_max=200))
    assert len(document.pages[0].text) == 200
    assert codes(document) == ["text_truncated"]


@given(
    paper=st.sampled_from(_PAPERS),
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4)), max_size=6),
)
@settings(max_examples=150, deadline=None)
def test_damage_is_an_invalid_file_or_read_and_nothing_else(
    paper: tuple[str, bytes], changes: list[tuple[float, bytes]]
) -> None:
    name, data = paper
    for place, replacement in changes:
        start = int(place * len(data))
        data = data[:start] + replacement + data[start + 3 :]
    with suppress(InvalidFileError):
        assert parse_document(name, data).pages


def test_result_and_errors_cross_a_process_border() -> None:
    document = parse_document("a.pdf", make_pdf([[_PROSE]]))
    assert pickle.loads(pickle.dumps(document)) == document
    with pytest.raises(InvalidFileError) as caught:
        parse_document("a.pdf", b"")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), copy.message) == (InvalidFileError, caught.value.message)


def test_threads_may_parse_at_once() -> None:
    data = make_pdf([[_PROSE] * 40] * 5)
    with ThreadPoolExecutor(4) as executor:
        results = list(executor.map(lambda _: parse_document("a.pdf", data), range(12)))
    assert all(result == results[0] for result in results)
