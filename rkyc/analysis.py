"""What the risk analysis adds to the API: dossiers become inputs, results become reports.

A part of `app`, loaded only where the pipeline `kyc` is served: it stands apart so that the core runs
without the extras that documents and reports need.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from rkyc.engine.client import Client
from rkyc.errors import DossierError, InvalidInputError
from rkyc.report.html import render_html
from rkyc.report.markdown import render_markdown
from rkyc.report.result import build_report_input, build_result
from rkyc.report.types import Lang, ReportInput
from rkyc.steps.kyc.dossier import check_manifest, read_dossier
from rkyc.store.blobs import find_missing_blobs, write_blob
from rkyc.store.kyc.results import load_analysis, load_evidence_pages
from rkyc.store.pool import Pool
from rkyc.store.queue.jobs import read_outputs


class DossierIntake:
    """Makes a job's input of `{"dossier": PATH}` below a root, or of a manifest whose files are uploaded."""

    def __init__(self, *, pool: Pool, root: Path | None) -> None:
        self._pool = pool
        self._root = None if root is None else Path(os.path.realpath(root))

    async def __call__(self, value: Any) -> tuple[Any, dict[str, Any]]:
        """Return (manifest, metadata of the job).

        Raises:
            InvalidInputError, DossierError: can't be analysed as it is, or must not be read.
        """
        if isinstance(value, dict) and "dossier" in value:
            value = await self._upload(value)
        manifest = check_manifest(value)
        named = {ref.sha256: ref.name for ref in (*manifest.files, *manifest.previous)}
        async with self._pool.connection() as conn:
            missing = await find_missing_blobs(conn, sorted(named))
        if missing:
            raise InvalidInputError(
                f"{len(missing)} files of the manifest are not stored: upload each by POST /api/v1/blobs and submit again",
                {"missing": [{"sha256": sha256, "name": named[sha256]} for sha256 in missing]},
            )
        return value, {"corp_name": manifest.corp.name}

    async def _upload(self, value: dict[str, Any]) -> dict[str, Any]:
        """Read a folder below the root, store its files, and return its manifest."""
        unknown = set(value) - {"dossier", "lang"}
        lang = value.get("lang", "ko")
        if unknown or lang not in ("ko", "en"):
            raise InvalidInputError(
                'input: beside "dossier" there may be "lang" ("ko" or "en") and nothing else'
            )
        folder = self._find_folder(value["dossier"])
        dossier = await asyncio.to_thread(read_dossier, folder, lang=lang)
        for sha256, path in dossier.files:
            data = await asyncio.to_thread(path.read_bytes)
            if hashlib.sha256(data).hexdigest() != sha256:
                raise DossierError(
                    f"{path.name} changed while it was submitted: submit again when nobody writes to it"
                )
            async with self._pool.connection() as conn:
                await write_blob(conn, data)
        return dossier.input

    def _find_folder(self, given: Any) -> Path:
        """Return the real path of a folder below the root, links followed; whatever lies outside is one answer."""
        if self._root is None:
            raise InvalidInputError(
                "a dossier by its path is taken only below RKYC_DOSSIER_ROOT, which is not set: set it, "
                "or upload the files by POST /api/v1/blobs and send the manifest"
            )
        if not isinstance(given, str) or not given or "\0" in given:
            raise InvalidInputError("input: dossier must be the path of a folder below RKYC_DOSSIER_ROOT")
        folder = Path(os.path.realpath(self._root / given))
        if not folder.is_relative_to(self._root):
            raise InvalidInputError(
                "the dossier does not lie below RKYC_DOSSIER_ROOT: move it there, or upload its files"
            )
        return folder


class AnalysisReports:
    """Renders the report of an analysis that has ended; of one that failed, what it reached."""

    def __init__(self, *, client: Client, pool: Pool) -> None:
        self._client = client
        self._pool = pool

    async def __call__(self, job_id: UUID, format: str) -> bytes | str:
        """Return the report as `html`, `md` or `json` (the shape of result.json).

        Raises:
            NotFoundError
        """
        report = await load_report(self._client, self._pool, job_id)
        if format == "json":
            return encode_result(report.result)
        # Tens of milliseconds of computing: not on the loop.
        return await asyncio.to_thread(render_html if format == "html" else render_markdown, report)


async def load_report(client: Client, pool: Pool, job_id: UUID, lang: Lang | None = None) -> ReportInput:
    """Read what a job found; of one that failed, what it reached. `result` has the shape of result.json.

    Raises:
        NotFoundError
    """
    job = await client.get(job_id)
    steps = await client.steps(job_id)
    async with pool.connection() as conn:
        analysis = await load_analysis(conn, job_id)
        evidence = await load_evidence_pages(conn, job_id)
        stored = await read_outputs(conn, job_id)
    outputs = {step: await client.show_payload(text) for step, text in stored.items()}
    result = build_result(dict(job), map(dict, steps), analysis, outputs)
    return build_report_input(result, evidence, lang=lang, generated_at=datetime.now(UTC))


def encode_result(result: dict[str, Any]) -> bytes:
    """Write a result as JSON, indented, in UTF-8."""
    return orjson.dumps(result, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
