"""What the eight steps of the risk analysis pass to one another: inputs and outputs, checked.

This is the one place where the steps meet. Outputs are small JSON that lands in the checkpoint;
page texts, event texts and vectors lie in tables. Rows that a step has ready for its `save` ride in
fields marked `exclude=True`: they reach `save(conn, output)` in the same process and are not part of
the checkpoint, so a later step never sees them.
Field names are a promise to jobs in flight: add, never rename.
"""

from __future__ import annotations

import unicodedata
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from rkyc.providers.llm.types import DataClass
from rkyc.steps.kyc.vocabulary import (
    ChangeKind,
    EventType,
    EvidenceCheck,
    EvidenceType,
    ImpactDirection,
    Level,
    RefType,
    RiskCategory,
    SignalType,
    SourceGrade,
    Stance,
)

TITLE_CHARS_MAX = 50
SUMMARY_CHARS_MAX = 200
QUOTE_CHARS_MAX = 400
EVIDENCE_MAX = 40
FILE_BYTES_MAX = 50 * 1024 * 1024
FILES_MAX = 500

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Title = Annotated[str, StringConstraints(min_length=1, max_length=TITLE_CHARS_MAX)]
Summary = Annotated[str, StringConstraints(min_length=1, max_length=SUMMARY_CHARS_MAX)]
# Never stripped nor normalised: a quote is compared with its source character by character.
Quote = Annotated[str, StringConstraints(min_length=1, max_length=QUOTE_CHARS_MAX)]
Lang = Literal["ko", "en"]
# `signal:ID`, `snapshot:POINTER`, `doc:FILE NAME:PAGE` or `url:URL`.
Citation = Annotated[str, StringConstraints(pattern=r"^(signal|snapshot|doc|url):.")]


def _check_file_name(name: str) -> str:
    parts = name.split("/")
    if "\\" in name or any(part in ("", ".", "..") for part in parts) or any(ord(c) < 32 for c in name):
        raise ValueError("a relative path with / between its parts, without . and .., is expected")
    if unicodedata.normalize("NFC", name) != name:
        raise ValueError("the name must be in Unicode form NFC")
    return name


FileName = Annotated[str, StringConstraints(min_length=1, max_length=400), AfterValidator(_check_file_name)]


class Model(BaseModel):
    """Unknown fields are refused: a misspelt one must not pass unseen."""

    model_config = ConfigDict(extra="forbid")


class Shareholder(Model):
    name: str = Field(min_length=1, max_length=200)
    share_pct: Decimal = Field(ge=0, le=100)


class CorpIn(Model):
    """`corp.json`: who is analysed. `as_of` is the day the analysis looks from; by default the job's day."""

    name: str = Field(min_length=1, max_length=200, pattern=r"\S")
    name_en: str | None = Field(default=None, max_length=200)
    aliases: list[Annotated[str, StringConstraints(min_length=1, max_length=200)]] = Field(
        default=[], max_length=50
    )
    biz_no: str | None = Field(default=None, max_length=40)
    corp_reg_no: str | None = Field(default=None, max_length=40)
    industry_code: str | None = Field(default=None, max_length=40)
    ceo_name: str | None = Field(default=None, max_length=200)
    country: str | None = Field(default=None, max_length=40)
    listed_code: str | None = Field(default=None, max_length=40)
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    shareholders: list[Shareholder] = Field(default=[], max_length=500)
    as_of: date | None = None


class FileRef(Model):
    """An uploaded file of the dossier: where it lay, and its content in the blob store."""

    name: FileName
    sha256: Sha256
    size: int = Field(ge=0, le=FILE_BYTES_MAX)


class KycInput(Model):
    """The job's input: a manifest. The files themselves were uploaded at submit.

    Names in `files` are relative to the dossier (`documents/notes.pdf`); names in `previous` are
    relative to its `previous/` folder and hold the earlier `corp.json` like any other file.
    """

    corp: CorpIn
    files: list[FileRef] = Field(default=[], max_length=FILES_MAX)
    previous: list[FileRef] = Field(default=[], max_length=FILES_MAX)
    lang: Lang = "ko"


class SnapshotOut(Model):
    """`periods` are the statement keys of the snapshot, oldest first (`FY2018`, `FY2019`, `2020Q1`)."""

    corp_id: int
    corp_name: str
    snapshot_id: int
    snapshot_version: int
    sha256: Sha256
    previous_version: int | None = None
    changed_paths: list[str] = []
    as_of: date
    periods: list[str] = []
    statements_class: DataClass
    # Rows for save: see steps/kyc/snapshot.py.
    pending: Any = Field(default=None, exclude=True)


class DocumentOut(Model):
    id: int | None = None
    name: str
    status: Literal["DONE", "FAILED"]
    pages: int = 0
    ocr_pages: int = 0
    data_class: DataClass
    error_code: str | None = None
    message: str | None = None
    warnings: list[str] = []


class DocIngestOut(Model):
    documents: list[DocumentOut] = []
    pending: Any = Field(default=None, exclude=True)


class ExternalOut(Model):
    """`dropped` counts by reason; `provider` says which search answered (`recorded` without a key)."""

    event_ids: list[int] = []
    clusters: int = 0
    dropped: dict[str, int] = {}
    queries: int = 0
    provider: str
    pending: Any = Field(default=None, exclude=True)


class ContextOut(Model):
    """The context pack of this job lies in the table `context_pack` under (job, sha256)."""

    sha256: Sha256
    token_count: int
    truncated: bool = False
    parts: int = 0
    similar_cases: list[int] = Field(default=[], max_length=5)
    pending: Any = Field(default=None, exclude=True)


class EvidenceRef(Model):
    """Where a claim stands. The last seven fields are empty until validation has found the quote.

    `char_start` and `char_end` count characters (code points) in the stored text of the page or the
    event; for a SNAPSHOT_KEYPATH the quote is the value's text and the offsets stay empty.
    """

    evidence_type: EvidenceType
    ref_type: RefType
    ref: str = Field(min_length=1, max_length=2000)
    quote: Quote
    char_start: int | None = Field(default=None, ge=0)
    char_end: int | None = Field(default=None, ge=0)
    check: EvidenceCheck | None = None
    similarity: float | None = Field(default=None, ge=0, le=1)
    source_grade: SourceGrade | None = None
    published_at: datetime | None = None
    source_file: str | None = None


class DerivedFigure(Model):
    """A number in a text that is not an input itself but computed from inputs.

    `text` is exactly what the title or summary shows (`387.2%`); `formula` names the computation and
    `operands` what it takes, in order: pointers into the snapshot, `previous:` and a pointer into the
    earlier snapshot, or `as_of`. `rules/derive.py` computes it again (`is_grounded`).
    """

    text: str = Field(min_length=1, max_length=40)
    formula: Literal[
        "value",
        "ratio_pct",
        "change_pct",
        "difference",
        "sum",
        "share_pct",
        "multiple",
        "days_between",
        "mean_pct",
    ]
    operands: list[str] = Field(min_length=1, max_length=2000)


class RiskSignalDraft(Model):
    """A risk signal before and after validation.

    `source` is `rule` or the agent that proposed it. `signature`, `needs_review` and `review_reasons`
    are set by validation; an agent's `rule_id` is None.
    """

    signal_type: SignalType
    event_type: EventType
    category: RiskCategory
    title: Title
    summary: Summary
    direction: ImpactDirection
    strength: Level
    confidence: Level
    severity: int = Field(ge=1, le=5)
    probability: Level
    evidence: list[EvidenceRef] = Field(min_length=1, max_length=EVIDENCE_MAX)
    rule_id: str | None = None
    period: str | None = None
    source: str = "rule"
    prompt_id: str | None = None
    derived: list[DerivedFigure] = []
    signature: Sha256 | None = None
    needs_review: bool = False
    review_reasons: list[str] = []


class SignalOut(Model):
    """`by_source` counts drafts per source; `failed_agents` are the ones without an answer."""

    drafts: list[RiskSignalDraft] = []
    by_source: dict[str, int] = {}
    failed_agents: list[str] = []
    provider: str


class DroppedDraft(Model):
    """A draft that did not pass: `reason` is a code (`QUOTE_NOT_FOUND`), `detail` says it in words."""

    title: str
    reason: str = Field(min_length=1, max_length=60)
    detail: str = Field(default="", max_length=500)


class ValidationOut(Model):
    """`kept` (at most 5) and `below_cut` passed every check and carry a signature; worst first."""

    kept: list[RiskSignalDraft] = []
    below_cut: list[RiskSignalDraft] = []
    dropped: list[DroppedDraft] = []
    merged: int = 0


class IndexedSignal(Model):
    """What became of one kept or below-cut draft, in the order of validation."""

    id: int
    signature: Sha256
    change: ChangeKind
    below_cut: bool = False


class IndexOut(Model):
    """Ids of `risk_signal`. `gone` were reported by the last earlier run and are no longer there.

    `indexed` holds one entry per reported draft; `inserted` are the NEW ones, `changed` and `unchanged`
    the ones known from an earlier run.
    """

    inserted: list[int] = []
    unchanged: list[int] = []
    changed: list[int] = []
    gone: list[int] = []
    indexed: list[IndexedSignal] = []
    embedding_model: str | None = None
    pending: Any = Field(default=None, exclude=True)


class Sentence(Model):
    """A sentence of the insight, with what it stands on."""

    text: str = Field(min_length=1, max_length=600)
    citations: list[Citation] = Field(min_length=1)


class Section(Model):
    title: str = Field(min_length=1, max_length=100)
    sentences: list[Sentence] = []


class Insight(Model):
    """`quality_score` 0-100; `coverage` 0-1, the share of reported signals that a sentence cites."""

    stance: Stance
    headline: str = Field(min_length=1, max_length=200)
    sections: list[Section] = []
    quality_score: float = Field(ge=0, le=100)
    coverage: float = Field(ge=0, le=1)
    provider: str


class InsightOut(Model):
    """`published` is false when the quality gate holds it back for review."""

    insight_id: int
    insight: Insight
    published: bool = True
    needs_review: bool = False
    pending: Any = Field(default=None, exclude=True)
