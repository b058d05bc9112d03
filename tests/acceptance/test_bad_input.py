"""Bad input of the real program: a message that says what to do, the right exit code, nothing lost."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from tests.support.dossiers import SAEBOM, copy_dossier
from tests.support.fake_postgres import fake_postgres
from tests.support.hosts import Host, open_hosts
from tests.support.papers import make_docx, make_pdf

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

GOING_CONCERN = "The board sees a material uncertainty about the going concern."


@pytest.fixture
async def host(dsn: str, tmp_path: Path) -> AsyncIterator[Host]:
    async with open_hosts(tmp_path, {"RKYC_DSN": dsn}) as (one,):
        yield one


@pytest.fixture
def dossier(tmp_path: Path) -> Path:
    return copy_dossier(SAEBOM, tmp_path)


async def count_jobs(dsn: str) -> int:
    conn = await asyncpg.connect(dsn)
    try:
        return int(await conn.fetchval("SELECT count(*) FROM rkyc.job"))
    finally:
        await conn.close()


async def test_papers_that_cannot_be_read_are_named_and_the_job_completes(host: Host, dossier: Path) -> None:
    papers = dossier / "documents"
    encrypted = make_pdf([["secret"]], password="secret")
    (papers / "locked.pdf").write_bytes(encrypted)
    (papers / "torn.pdf").write_bytes(make_pdf([["a page"]])[:200])
    (papers / "empty.docx").write_bytes(b"")
    (papers / "program.txt").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 20)
    # Typed by its bytes: a wrong name is no reason not to read it.
    (papers / "minutes.pdf").write_bytes(make_docx([GOING_CONCERN]))
    done = await host.run("analyze", dossier, "--json", "-", "--out", host.folder / "out")
    assert done.code == 0, done
    result = json.loads(done.out)
    assert (result["status"], result["partial"]) == ("completed", True)
    unread = {"documents/locked.pdf", "documents/torn.pdf", "documents/empty.docx", "documents/program.txt"}
    documents = {row["name"]: row for row in result["documents"]}
    assert {name for name, row in documents.items() if row["status"] == "FAILED"} == unread
    assert documents["documents/minutes.pdf"]["status"] == "DONE"
    warnings = {row["subject"]: row for row in result["warnings"]}
    assert set(warnings) >= unread
    for name in unread:
        assert warnings[name]["step"] == "doc_ingest"
        assert Path(name).name in warnings[name]["message"]
    assert "password" in warnings["documents/locked.pdf"]["message"]
    assert "empty" in warnings["documents/empty.docx"]["message"]
    degraded = {step["step"] for step in result["steps"] if step["degraded"]}
    assert degraded == {"doc_ingest"}


async def test_unknown_concept_is_told_and_the_rest_is_analysed(host: Host, dossier: Path) -> None:
    with (dossier / "statements.csv").open("a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(
            ["2024", "FY", "goodwill_of_the_moon", "5", "KRW", "1", "ours"]
        )
    done = await host.run("analyze", dossier, "--json", "-", "--out", host.folder / "out")
    result = json.loads(done.out)
    assert (done.code, result["status"]) == (0, "completed")
    told = [row["message"] for row in result["warnings"] if "goodwill_of_the_moon" in row["message"]]
    assert len(told) == 1 and "statements.csv" in told[0]


def break_figure(dossier: Path) -> None:
    path = dossier / "statements.csv"
    path.write_text(path.read_text("utf-8").replace("38400000", "38.4oo"), encoding="utf-8")


def remove_corp(dossier: Path) -> None:
    (dossier / "corp.json").unlink()


def cut_corp(dossier: Path) -> None:
    (dossier / "corp.json").write_text('{"name": "새봄식품"', encoding="utf-8")


def cut_bank(dossier: Path) -> None:
    (dossier / "bank.json").write_text("[1, 2", encoding="utf-8")


def add_huge_paper(dossier: Path) -> None:
    """A file of 51 MB that takes no room."""
    with (dossier / "documents" / "huge.pdf").open("wb") as file:
        file.write(b"%PDF-1.7")
        file.truncate(51 * 2**20)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (break_figure, ("statements.csv", "line 2", "column value", "plain number")),
        (remove_corp, ("no corp.json", '"name"')),
        (cut_corp, ("corp.json", "JSON")),
        (cut_bank, ("bank.json", "JSON")),
        (add_huge_paper, ("documents/huge.pdf", "50 MB", "leave it out")),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
@pytest.mark.parametrize("command", ["analyze", "submit"])
async def test_dossier_that_cannot_be_analysed_is_refused_before_anything_is_enqueued(
    command: str, spoil: Callable[[Path], None], told: tuple[str, ...], host: Host, dossier: Path, dsn: str
) -> None:
    spoil(dossier)
    given: list[str | Path] = ["analyze"] if command == "analyze" else ["submit", "kyc", "--dossier"]
    done = await host.run(*given, dossier)
    assert (done.code, done.out) == (2, ""), done
    assert [part for part in told if part not in done.err] == []
    assert "Traceback" not in done.err
    assert await count_jobs(dsn) == 0


async def test_data_folder_that_cannot_be_made_is_named(tmp_path: Path, dossier: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "rkyc"
    async with open_hosts(tmp_path, {"RKYC_DATA_DIR": str(place)}) as (host,):
        for command in (["analyze", dossier], ["serve", "--no-api"], ["jobs", "list"]):
            done = await host.run(*command)
            assert done.code == 2, done
            assert str(place) in done.err and "RKYC_DATA_DIR" in done.err and "Traceback" not in done.err


async def test_production_without_a_database_does_not_start_an_empty_one(tmp_path: Path) -> None:
    environ = {"RKYC_ENV": "production", "ENCRYPTION_KEY": "ab" * 32}
    async with open_hosts(tmp_path, environ) as (host,):
        for command in (["serve", "--no-api"], ["analyze", SAEBOM], ["sql", "select 1"]):
            done = await host.run(*command)
            assert done.code == 2 and "RKYC_DSN" in done.err, done
        assert list((host.folder / "data").iterdir()) == []


async def test_database_that_cannot_be_reached_is_named_without_its_password(tmp_path: Path) -> None:
    dsn = "postgresql://someone:s3cret@127.0.0.1:1/rkyc"
    async with open_hosts(tmp_path, {"RKYC_DSN": dsn}) as (host,):
        for command in (["serve", "--no-api"], ["submit", "kyc", "--dossier", SAEBOM]):
            done = await host.run(*command)
            assert done.code == 2 and "127.0.0.1" in done.err, done
            assert "s3cret" not in done.err + done.out and "Traceback" not in done.err


async def test_too_old_a_postgres_is_told_its_version(tmp_path: Path) -> None:
    async with fake_postgres(version="14.11") as dsn, open_hosts(tmp_path, {"RKYC_DSN": dsn}) as (host,):
        done = await host.run("serve", "--no-api")
    assert done.code == 2 and "14" in done.err and "15" in done.err, done


async def test_role_without_rights_is_told_what_to_grant(empty_dsn: str, tmp_path: Path) -> None:
    admin = await asyncpg.connect(empty_dsn)
    database = await admin.fetchval("SELECT current_database()")
    role = f"guest_{database}"
    await admin.execute(f"CREATE ROLE {role} LOGIN")
    try:
        dsn = empty_dsn.replace("postgresql://rkyc@", f"postgresql://{role}@")
        async with open_hosts(tmp_path, {"RKYC_DSN": dsn}) as (host,):
            done = await host.run("serve", "--no-api")
        assert done.code == 2 and "GRANT CREATE ON DATABASE" in done.err, done
    finally:
        await admin.execute(f"DROP ROLE {role}")
        await admin.close()
