"""The built-in analysis over HTTP: by uploads and a manifest, by a path below the root, up to its report."""

from __future__ import annotations

import io
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from rkyc.pipelines.kyc import registry
from rkyc.steps.kyc.dossier import read_dossier
from tests.support.dossiers import SAEBOM
from tests.support.engine import query, wait_status
from tests.support.web import Web, open_web

pytestmark = pytest.mark.anyio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root for dossiers, with one in it and one beside it."""
    root = tmp_path / "root"
    shutil.copytree(SAEBOM, root / "saebom")
    shutil.copytree(SAEBOM, tmp_path / "outside")
    return root


@pytest.fixture
async def web(dsn: str, root: Path) -> AsyncIterator[Web]:
    """The API without a worker; dossiers are taken below the root."""
    async with open_web(dsn, registry, works=False, environ={"RKYC_DOSSIER_ROOT": str(root)}) as opened:
        yield opened


async def ask(web: Web, input: Any) -> tuple[int, Any]:
    return await web.post("/api/v1/jobs", {"pipeline": "kyc", "input": input})


async def test_uploads_and_a_manifest_are_a_dossier_and_end_in_a_report(dsn: str) -> None:
    dossier = read_dossier(SAEBOM)
    async with open_web(dsn, registry) as web:
        for sha256, path in dossier.files:
            _, said = await web.ask("POST", "/api/v1/blobs", data=io.BytesIO(path.read_bytes()))
            assert said["sha256"] == sha256
        status, said = await ask(web, dossier.input)
        assert status == 202, said
        row = await wait_status(web.app.pool, UUID(said["job_id"]))
        assert row["status"] == "completed", row["error_message"]
        await look_at_report(web, said["job_id"])


async def look_at_report(web: Web, job_id: str) -> None:
    """Every format of the report, and the evidence in it."""
    path = f"/api/v1/jobs/{job_id}/report"
    status, result = await web.get(f"{path}?format=json")
    assert (status, result["job_id"], result["status"]) == (200, job_id, "completed")
    assert [one["step"] for one in result["steps"]][:2] == ["snapshot", "doc_ingest"]
    async with web.session.get(path) as response:
        html = await response.text()
        assert (response.status, response.content_type, response.charset) == (200, "text/html", "utf-8")
        assert result["corp"]["name"] in html
    async with web.session.get(f"{path}?format=md") as response:
        assert response.content_type == "text/markdown"
        assert result["corp"]["name"] in await response.text()
    _, job = await web.get(f"/api/v1/jobs/{job_id}")
    assert job["metadata"]["corp_name"] == result["corp"]["name"]
    assert len(job["steps"]) == 8


@pytest.mark.parametrize("is_absolute", [False, True], ids=["relative", "absolute"])
async def test_dossier_below_the_root_is_read_and_stored(web: Web, root: Path, is_absolute: bool) -> None:
    status, said = await ask(
        web, {"dossier": str(root / "saebom") if is_absolute else "saebom", "lang": "en"}
    )
    assert status == 202, said
    manifest = read_dossier(SAEBOM, lang="en")
    assert len(await query(web.app.pool, "SELECT FROM rkyc.blob")) == len(manifest.files)
    (row,) = await query(
        web.app.pool, "SELECT input ->> 'lang' AS lang, metadata ->> 'corp_name' AS name FROM rkyc.job"
    )
    assert (row["lang"], row["name"]) == ("en", manifest.input["corp"]["name"])


@pytest.mark.parametrize(
    "given", ["../outside", "/etc", "saebom/../../outside", "link", "link/..", "chain", "nested/outside"]
)
async def test_path_that_leaves_the_root_is_refused_by_one_answer(web: Web, root: Path, given: str) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    (root / "chain").symlink_to(root / "link")
    (root / "nested").symlink_to(root.parent)
    status, said = await ask(web, {"dossier": given})
    assert (status, said["code"]) == (422, "INPUT_INVALID")
    assert "does not lie below RKYC_DOSSIER_ROOT" in said["detail"]
    assert str(root.parent) not in said["detail"]
    assert await query(web.app.pool, "SELECT FROM rkyc.blob") == []


async def test_link_inside_a_dossier_is_not_followed(web: Web, root: Path) -> None:
    (root / "saebom" / "documents").mkdir(exist_ok=True)
    (root / "saebom" / "documents" / "passwords.txt").symlink_to("/etc/passwd")
    status, said = await ask(web, {"dossier": "saebom"})
    assert (status, said["code"]) == (422, "DOSSIER_INVALID")
    assert "documents/passwords.txt" in said["detail"]


@pytest.mark.parametrize(
    ("input", "word"),
    [
        ({"dossier": "nothing-here"}, "no such folder"),
        ({"dossier": ""}, "dossier"),
        ({"dossier": 7}, "dossier"),
        ({"dossier": "a\x00b"}, "dossier"),
        ({"dossier": "saebom", "lang": "fr"}, "lang"),
        ({"dossier": "saebom", "corp": {}}, "nothing else"),
        ({}, "corp"),
        ([], "input"),
        ({"corp": {"name": "X", "colour": "red"}}, "colour"),
    ],
)
async def test_input_that_is_no_dossier_is_refused_with_what_to_do(web: Web, input: Any, word: str) -> None:
    status, said = await ask(web, input)
    assert status == 422 and word in said["detail"]
    assert await query(web.app.pool, "SELECT FROM rkyc.job") == []


async def test_path_without_a_root_says_what_to_set(dsn: str) -> None:
    async with open_web(dsn, registry, works=False) as web:
        status, said = await ask(web, {"dossier": str(SAEBOM)})
    assert status == 422
    assert "RKYC_DOSSIER_ROOT" in said["detail"] and "/api/v1/blobs" in said["detail"]


async def test_files_that_are_not_stored_are_named(web: Web) -> None:
    manifest = read_dossier(SAEBOM).input
    status, said = await ask(web, manifest)
    assert (status, said["code"]) == (422, "INPUT_INVALID")
    named = {one["sha256"] for one in said["details"]["missing"]}
    assert named == {ref["sha256"] for ref in [*manifest["files"], *manifest.get("previous", [])]}


async def test_dossier_is_taken_under_the_pipelines_own_address(web: Web) -> None:
    assert (await web.post("/api/v1/pipelines/kyc", {"dossier": "saebom"}))[0] == 202
