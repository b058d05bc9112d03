"""Step 3: what is told about the company outside: recorded events, and a search where one is set up.

Queries hold PUBLIC words only: names, industry, country. Hits are kept with their text exactly as it
came; copies of one story share a cluster; each is graded and matched to *this* company with reasons.
What is about someone else is dropped and counted, never guessed at. A failing search degrades the step;
recorded events always count.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import anyio
import pydantic

from rkyc.errors import WorkerBaseException
from rkyc.flow.context import StepContext
from rkyc.providers.search.recorded import PROVIDER_NAME, RecordedSearch
from rkyc.providers.search.router import Search
from rkyc.providers.search.types import SearchHit, SearchQuery
from rkyc.steps.kyc.events.classify import Judged, canonical_url, judge_hit
from rkyc.steps.kyc.events.cluster import Story, cluster_stories
from rkyc.steps.kyc.events.industries import industry_words
from rkyc.steps.kyc.events.match import Identity
from rkyc.steps.kyc.events.names import strip_legal_form
from rkyc.steps.kyc.layout import FileKind, classify_file
from rkyc.steps.kyc.material import identify, read_pages
from rkyc.steps.kyc.parallel import run_side_by_side
from rkyc.steps.kyc.schemas import CorpIn, DocIngestOut, ExternalOut, KycInput, SnapshotOut
from rkyc.steps.kyc.vocabulary import SourceType
from rkyc.store.blobs import read_blob
from rkyc.store.kyc import events
from rkyc.store.kyc.events import AnalysisEventRow, EventRow, TargetRow
from rkyc.store.pool import Connection, Pool

# News older than a year is history of the company, not news.
_SEARCH_WINDOW = timedelta(days=365)
_QUERIES_PARALLEL_MAX = 3
# A search that fails is tried again with the step; the last time the step goes on without it.
_SEARCH_ATTEMPTS_MAX = 3
# Beyond this many hits a dossier is a data set, not a file about one company.
_HITS_MAX = 2000
# What the table of events takes.
_URL_CHARS_MAX = 2000


@dataclass(frozen=True, slots=True)
class _Found:
    hit: SearchHit
    published_at: datetime | None
    source_file: str | None = None


@dataclass(frozen=True, slots=True)
class _Pending:
    targets: tuple[TargetRow, ...]
    links: tuple[AnalysisEventRow, ...]


class _Hits(pydantic.BaseModel):
    """The journalled answer of one query."""

    hits: list[SearchHit]


async def run(ctx: StepContext, input: DocIngestOut, job: KycInput, snapshot: SnapshotOut) -> ExternalOut:
    """Gather, sift and keep the events of this run."""
    pool = ctx.use(Pool)
    async with pool.connection() as conn:
        company = identify(job.corp, await read_pages(conn, ctx.job_id))
    recorded = await _read_recorded(ctx, job)
    queries = _build_queries(job.corp, job.lang, ctx.now) if ctx.use(Search).available else []
    searched = await _search(ctx, queries)
    dropped: Counter[str] = Counter()
    judged = await anyio.to_thread.run_sync(_sift, [*recorded, *searched], company, dropped)
    clusters = await anyio.to_thread.run_sync(
        cluster_stories,
        [
            Story(each.hit.title, each.hit.text, each.published_at, judgement.subject)
            for each, judgement in judged
        ],
    )
    async with pool.connection() as conn:
        ids = await events.add_events(conn, _event_rows(ctx, judged, clusters))
    ctx.progress(0.9)
    return ExternalOut(
        event_ids=ids,
        clusters=len(set(clusters)),
        dropped=dict(dropped),
        queries=len(queries),
        provider="+".join(sorted({each.hit.provider for each, _ in judged}) or [PROVIDER_NAME]),
        pending=_pending_rows(ctx, snapshot.corp_id, judged, clusters, ids),
    )


async def save(conn: Connection, output: ExternalOut) -> None:
    """Keep whom the events are about and that this run used them."""
    pending: _Pending = output.pending
    await events.add_targets(conn, pending.targets)
    await events.add_analysis_events(conn, pending.links)


async def _read_recorded(ctx: StepContext, job: KycInput) -> list[_Found]:
    pool = ctx.use(Pool)
    found: list[_Found] = []
    for file in job.files:
        if classify_file(file.name) is not FileKind.EVENTS:
            continue
        async with pool.connection() as conn:
            data = await read_blob(conn, file.sha256)
        recorded = RecordedSearch({file.name: data})
        for warning in recorded.warnings:
            place = f"{warning.file}:{warning.line}" if warning.line else warning.file
            ctx.warn("event_unusable", f"{place}: {warning.message}", subject=file.name)
        found += [_Found(hit, _instant(hit.published_at), file.name) for hit in recorded.hits]
    return found


def _build_queries(corp: CorpIn, lang: str, now: datetime) -> list[SearchQuery]:
    """Return the three query sets; nothing in them comes from INTERNAL papers or records."""
    name, since = strip_legal_form(corp.name), (now - _SEARCH_WINDOW).date()
    is_korean = lang == "ko"
    risk = "소송 부도 횡령 제재 사고" if is_korean else "lawsuit default fraud sanction accident"
    queries = [
        SearchQuery(f"{name} {risk}", "company", lang, since),
        SearchQuery(
            f"{name} {'대표이사 최대주주 수주 투자' if is_korean else 'CEO shareholder contract'}",
            "company",
            lang,
            since,
        ),
    ]
    if corp.name_en and is_korean:
        queries.append(SearchQuery(f"{strip_legal_form(corp.name_en)} Korea company", "company", "en", since))
    words = " ".join(industry_words(corp.industry_code, lang))
    if words:
        outlook, rules = (
            ("업황 수요 원자재", "규제 관세 정책 개정")
            if is_korean
            else ("demand outlook prices", "regulation tariff policy")
        )
        queries.append(SearchQuery(f"{words} {outlook}", "industry", lang, since))
        queries.append(SearchQuery(f"{words} {rules}", "policy", lang, since))
    return queries


async def _search(ctx: StepContext, queries: Sequence[SearchQuery]) -> list[_Found]:
    parts = [functools.partial(_ask, ctx, number, query) for number, query in enumerate(queries)]
    answers = await run_side_by_side(parts, limit=_QUERIES_PARALLEL_MAX)
    return [_Found(hit, _instant(hit.published_at)) for hits in answers for hit in hits]


async def _ask(ctx: StepContext, number: int, query: SearchQuery) -> list[SearchHit]:
    search = ctx.use(Search)

    async def fetch() -> _Hits:
        return _Hits(hits=await search.search(query))

    try:
        return (await ctx.call(f"search:{query.kind}:{number}", fetch, returns=_Hits)).hits
    except WorkerBaseException as error:
        if error.retryable and ctx.attempt < _SEARCH_ATTEMPTS_MAX:
            raise
        ctx.warn(error.error_code, f"the {query.kind} search failed: {error.message}", subject=query.kind)
        return []


def _sift(found: Sequence[_Found], company: Identity, dropped: Counter[str]) -> list[tuple[_Found, Judged]]:
    """Keep what is about the company or its industry; count the rest by reason."""
    kept: list[tuple[_Found, Judged]] = []
    seen: set[str] = set()
    for each in found:
        hit, key = each.hit, canonical_url(each.hit.url)
        if key in seen:
            dropped["DUPLICATE_URL"] += 1
            continue
        seen.add(key)
        if not _is_storable(hit):
            dropped["UNUSABLE"] += 1
            continue
        if len(kept) >= _HITS_MAX:
            dropped["OVER_LIMIT"] += 1
            continue
        judged = judge_hit(
            url=hit.url,
            title=hit.title,
            text=hit.text,
            source=hit.source,
            source_type=SourceType(hit.source_type),
            company=company,
        )
        if judged.drop_reason is not None:
            dropped[judged.drop_reason] += 1
        else:
            kept.append((each, judged))
    return kept


def _is_storable(hit: SearchHit) -> bool:
    """Say whether the database can hold it: a search may return anything."""
    words = f"{hit.url}{hit.title}{hit.text}{hit.source or ''}{hit.lang or ''}"
    return (
        len(hit.url) <= _URL_CHARS_MAX
        and bool(hit.text.strip())
        and "\x00" not in words
        and not any("\ud800" <= char <= "\udfff" for char in words)
    )


def _event_rows(
    ctx: StepContext, judged: Sequence[tuple[_Found, Judged]], clusters: Sequence[int]
) -> list[EventRow]:
    signatures: dict[int, str] = {}
    rows = []
    for (each, judgement), cluster in zip(judged, clusters, strict=True):
        hit = each.hit
        signature = hashlib.sha256(f"{canonical_url(hit.url)}\n{hit.text}".encode("utf-8", "surrogatepass"))
        rows.append(
            EventRow(
                url=hit.url,
                title=hit.title,
                text=hit.text,
                event_signature=signatures.setdefault(cluster, signature.hexdigest()),
                source_type=hit.source_type,
                grade=judgement.grade,
                fetched_at=ctx.now,
                event_class=judgement.event_class,
                published_at=each.published_at,
                source=hit.source,
                lang=hit.lang,
            )
        )
    return rows


def _pending_rows(
    ctx: StepContext,
    corp_id: int,
    judged: Sequence[tuple[_Found, Judged]],
    clusters: Sequence[int],
    ids: Sequence[int],
) -> _Pending:
    copies = Counter(clusters)
    targets = tuple(
        TargetRow(event_id, corp_id, each.score, each.basis, each.role, each.reasons)
        for (_, each), event_id in zip(judged, ids, strict=True)
    )
    links = tuple(
        AnalysisEventRow(ctx.job_id, event_id, cluster, copies[cluster], each.source_file)
        for (each, _), cluster, event_id in zip(judged, clusters, ids, strict=True)
    )
    return _Pending(targets, links)


def _instant(published_at: str | None) -> datetime | None:
    """Read an ISO day or instant; one without a time zone counts as UTC."""
    if published_at is None:
        return None
    try:
        instant = datetime.fromisoformat(published_at)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
