"""Writes an analysis as files: report.html, report.md, result.json; chooses and checks their folder."""

from __future__ import annotations

import os
import re
import unicodedata
from datetime import datetime
from pathlib import Path

from rkyc.analysis import encode_result
from rkyc.errors import ConfigError
from rkyc.report.html import render_html
from rkyc.report.markdown import render_markdown
from rkyc.report.types import ReportInput

REPORTS = Path("rkyc-reports")
HTML, MARKDOWN, JSON = "report.html", "report.md", "result.json"
# What some file system or shell can't take in a name.
_UNFIT = re.compile(r"[^\w.()&+-]+")
_NAME_CHARS_MAX = 60


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


def write_files(report: ReportInput, folder: Path) -> None:
    """Write the three files, making the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HTML).write_text(render_html(report), encoding="utf-8", newline="")
    (folder / MARKDOWN).write_text(render_markdown(report), encoding="utf-8", newline="")
    (folder / JSON).write_bytes(encode_result(report.result))
