"""Reads an analysis back from the database and writes it as files: report.html, report.md, result.json."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from rkyc.app import App
from rkyc.errors import ConfigError
from rkyc.report.html import render_html
from rkyc.report.markdown import render_markdown
from rkyc.report.result import build_report_input, build_result
from rkyc.report.types import Lang, ReportInput
from rkyc.store.kyc.results import load_analysis, load_evidence_pages

REPORTS = Path("rkyc-reports")
HTML, MARKDOWN, JSON = "report.html", "report.md", "result.json"
# What some file system or shell can't take in a name.
_UNFIT = re.compile(r"[^\w.()&+-]+")
_NAME_CHARS_MAX = 60


@dataclass(frozen=True, slots=True)
class Analysis:
    """`result` in the shape of result.json, and what the report is made from."""

    result: dict[str, Any]
    report: ReportInput


async def load_job_analysis(app: App, job_id: UUID, lang: Lang | None = None) -> Analysis:
    """Read what a job found; of one that failed, what it reached.

    Raises:
        NotFoundError
    """
    job = await app.client.get(job_id)
    steps = await app.client.steps(job_id)
    async with app.pool.connection() as conn:
        analysis = await load_analysis(conn, job_id)
        evidence = await load_evidence_pages(conn, job_id)
    result = build_result(dict(job), map(dict, steps), analysis)
    return Analysis(result, build_report_input(result, evidence, lang=lang, generated_at=datetime.now(UTC)))


def choose_folder(corp_name: str, today: datetime) -> Path:
    """Return the default place of a report, `rkyc-reports/NAME-DATE`; a second one that day gets a number."""
    name = _UNFIT.sub("-", unicodedata.normalize("NFC", corp_name)).strip("-.")[:_NAME_CHARS_MAX]
    first = REPORTS / f"{name or 'company'}-{today:%Y-%m-%d}"
    folder, number = first, 1
    while folder.exists():
        number += 1
        folder = first.with_name(f"{first.name}-{number}")
    return folder


def check_folder(folder: Path) -> None:
    """Refuse a place for the report that can't be written, before the work; make nothing yet.

    Raises:
        ConfigError
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder} can't be written: choose another folder with --out")


def write_files(analysis: Analysis, folder: Path) -> None:
    """Write the three files, making the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HTML).write_text(render_html(analysis.report), encoding="utf-8", newline="")
    (folder / MARKDOWN).write_text(render_markdown(analysis.report), encoding="utf-8", newline="")
    (folder / JSON).write_bytes(encode_result(analysis.result))


def encode_result(result: dict[str, Any]) -> bytes:
    """Write a result as JSON, indented, in UTF-8."""
    return orjson.dumps(result, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
