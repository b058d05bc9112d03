"""A dossier folder becomes a manifest, or is refused with its place and what to do."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from rkyc.errors import DossierError, InvalidInputError
from rkyc.steps.kyc import dossier as dossier_module
from rkyc.steps.kyc.dossier import check_manifest, read_dossier
from rkyc.steps.kyc.schemas import KycInput
from tests.support.dossiers import HANBIT, SAEBOM

HEADER = "fiscal_year,period,concept,value,currency,unit,source\n"


def make(folder: Path, **files: str | bytes) -> Path:
    """Write a dossier; `__` in a name stands for `/`, `_dot_` for `.`."""
    for name, content in {"corp_dot_json": '{"name": "가나"}', **files}.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


@pytest.mark.parametrize("folder", [HANBIT, SAEBOM])
def test_examples_are_read_without_warning(folder: Path) -> None:
    dossier = read_dossier(folder)
    manifest = KycInput.model_validate(dossier.input)
    assert dossier.warnings == []
    assert "corp.json" not in {ref.name for ref in manifest.files}
    assert {ref.name for ref in manifest.previous} == {"corp.json", "statements.csv", "bank.json"}
    stored = dict(dossier.files)
    for ref in (*manifest.files, *manifest.previous):
        data = stored[ref.sha256].read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (ref.sha256, ref.size)
    assert check_manifest(json.loads(json.dumps(dossier.input))) == manifest


def test_name_alone_is_a_dossier(tmp_path: Path) -> None:
    dossier = read_dossier(make(tmp_path), lang="en")
    assert dossier.input == {
        "corp": {"name": "가나", "aliases": [], "shareholders": []},
        "files": [],
        "previous": [],
        "lang": "en",
    }


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "line 1"),
        ('{"name": "a",\n "biz_no": }', "line 2"),
        (b'{"name": "\xff"}', "UTF-8"),
        ("[]", "object"),
        ("{}", "field name: is missing"),
        ('{"name": "  "}', "field name"),
        ('{"name": "a", "biz_no": 1234567890}', "field biz_no"),
        ('{"name": "a", "bizno": "1"}', "field bizno: is not known"),
        ('{"name": "a", "name": "b"}', "stands twice"),
        ('{"name": "a", "currency": "won"}', "field currency"),
        ('{"name": "a", "as_of": "2025-13-01"}', "field as_of"),
        ('{"name": NaN}', "NaN"),
        ('{"name": "a", "x": 1e999999}', "digits"),
    ],
)
def test_bad_corp_json_is_named_with_its_place(tmp_path: Path, content: str | bytes, expected: str) -> None:
    with pytest.raises(DossierError) as caught:
        read_dossier(make(tmp_path, corp_dot_json=content))
    assert caught.value.message.startswith("corp.json: ")
    assert expected in caught.value.message


def test_missing_corp_json_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(DossierError, match=r"no corp\.json; write at least"):
        read_dossier(tmp_path)
    with pytest.raises(DossierError, match="no such folder"):
        read_dossier(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "statements_dot_csv",
            HEADER + "2024,FY,revenue,1 thousand,KRW,1,x\n",
            "statements.csv: line 2, column value",
        ),
        ("bank_dot_json", '{"loan": [{"balance_krw": "12"}]}', "bank.json: field loan.0.balance_krw"),
        ("bank_dot_json", '{"loans": []}', "field loans: is not known"),
        ("bank_dot_json", '{"kyc_status": {"last_updated": "2024-1-5"}}', "a date such as"),
        ("bank_dot_json", '{"deposit": [{"month": "2024-13"}]}', "a month such as"),
        ("bank_dot_json", '{"kyc_status": {"completed": 1}}', "true or false"),
        ("bank_dot_json", '{"loan": [{"product": "a\\u0000"}]}', "NUL"),
        ("a_dot_xbrl_dot_xml", "<not xbrl", "a.xbrl.xml"),
        (
            "previous__statements_dot_csv",
            HEADER + "x,FY,revenue,1,KRW,1,x\n",
            "previous/statements.csv: line 2",
        ),
        ("previous__corp_dot_json", "{}", "previous/corp.json: field name"),
    ],
)
def test_bad_parts_are_refused_before_anything_is_uploaded(
    tmp_path: Path, name: str, content: str, expected: str
) -> None:
    with pytest.raises(DossierError) as caught:
        read_dossier(make(tmp_path, **{name: content}))
    assert expected in caught.value.message


def test_unknown_files_and_concepts_are_no_reason_to_refuse(tmp_path: Path) -> None:
    folder = make(tmp_path, notes_dot_doc="x", statements_dot_csv=HEADER + "2024,FY,mystery,1,KRW,1,x\n")
    dossier = read_dossier(folder)
    assert dossier.warnings == ["notes.doc: not part of a dossier's layout, left out"]
    assert [ref["name"] for ref in dossier.input["files"]] == ["statements.csv"]


def test_empty_and_strange_papers_are_taken_as_they_are(tmp_path: Path) -> None:
    dossier = read_dossier(make(tmp_path, documents__empty_dot_pdf=b"", documents__a__b_dot_xyz=b"?"))
    assert [ref["name"] for ref in dossier.input["files"]] == ["documents/a/b.xyz", "documents/empty.pdf"]


def test_names_are_normalised_and_must_stay_apart(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "보고서.txt")
    folder = make(tmp_path)
    (folder / "documents").mkdir()
    (folder / "documents" / decomposed).write_text("x")
    assert read_dossier(folder).input["files"][0]["name"] == "documents/보고서.txt"
    (folder / "documents" / "보고서.txt").write_text("y")
    with pytest.raises(DossierError, match="two files have this name"):
        read_dossier(folder)


def test_links_and_pipes_are_refused(tmp_path: Path) -> None:
    outside = tmp_path / "secret.txt"
    outside.write_text("secret")
    folder = make(tmp_path / "dossier")
    (folder / "documents").mkdir()
    (folder / "documents" / "link.txt").symlink_to(outside)
    with pytest.raises(DossierError, match=r"documents/link\.txt: is a link"):
        read_dossier(folder)
    (folder / "documents" / "link.txt").unlink()
    os.mkfifo(folder / "documents" / "pipe")
    with pytest.raises(DossierError, match="no regular file"):
        read_dossier(folder)


def test_names_that_no_manifest_can_hold_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "documents").mkdir()
    (folder / "documents" / "a\\b.txt").write_text("x")
    with pytest.raises(DossierError, match="rename it"):
        read_dossier(folder)


def test_limits_on_size_and_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path, documents__a_dot_txt=b"x" * 101, documents__b_dot_txt=b"y")
    monkeypatch.setattr(dossier_module, "FILE_BYTES_MAX", 100)
    with pytest.raises(DossierError, match=r"documents/a\.txt: larger than"):
        read_dossier(folder)
    monkeypatch.setattr(dossier_module, "FILE_BYTES_MAX", 200)
    monkeypatch.setattr(dossier_module, "FILES_MAX", 1)
    with pytest.raises(DossierError, match="at most 1 are taken"):
        read_dossier(folder)


def test_file_over_fifty_megabytes_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "documents").mkdir()
    with (folder / "documents" / "big.pdf").open("wb") as file:
        file.truncate(50 * 2**20 + 1)
    with pytest.raises(DossierError, match="larger than 50 MB"):
        read_dossier(folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"corp": {}}, "field corp.name: is missing"),
        ({"colour": 1}, "field colour: is not known"),
        ({"files": [{"name": "../x", "sha256": "0" * 64, "size": 1}]}, "field files.0.name"),
        ({"files": [{"name": "/etc/passwd", "sha256": "0" * 64, "size": 1}]}, "field files.0.name"),
        ({"files": [{"name": "a", "sha256": "zz", "size": 1}]}, "field files.0.sha256"),
        ({"files": [{"name": "a", "sha256": "0" * 64, "size": 60_000_000}]}, "field files.0.size"),
        ({"files": [{"name": "a", "sha256": "0" * 64, "size": 1}] * 2}, "named twice"),
        ({"lang": "fr"}, "field lang"),
    ],
)
def test_bad_manifest_is_refused_by_field(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_manifest({"corp": {"name": "가나"}, **change})
    assert expected in caught.value.message
