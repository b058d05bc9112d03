"""What a report is made from: the result of a job, the pages its evidence points into, its figures.

Callers gather these from the store; the report itself reads nothing. Texts are as stored: the offsets
of the evidence count characters (code points) in `SourcePage.text`, so nobody may normalise it on the
way. `result` has the shape of `result.json`; fields that are missing or empty are shown as such.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

PageKind = Literal["DOC_PAGE", "URL"]
Lang = Literal["ko", "en"]


@dataclass(frozen=True, slots=True)
class SourcePage:
    """One page of a document, or the text of one event.

    `ref` is spelt as in the evidence: `file name:page`, or the url. `meta` is shown beside the title
    (`published_at`, `source`, `grade`); its keys are translated where known.
    """

    kind: PageKind
    ref: str
    title: str
    text: str
    meta: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FigureSeries:
    """One concept over time: `points` are (period, exact decimal text) in units of `currency`, oldest first."""

    concept: str
    label: str
    currency: str
    points: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ReportInput:
    """Everything a report shows. `snapshot` is the document that SNAPSHOT_KEYPATH evidence points into.

    `previous` is the snapshot before it, which calculated changes start from; empty where there is none.
    """

    result: dict[str, Any]
    pages: tuple[SourcePage, ...]
    figures: tuple[FigureSeries, ...]
    lang: Lang
    generated_at: datetime
    snapshot: dict[str, Any]
    previous: dict[str, Any] = field(default_factory=dict)
