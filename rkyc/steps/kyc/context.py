"""Step 4: packs what the models may see, and finds similar cases of the past.

Parts go by worth into 8,000 tokens, each with its data class; whoever asks a model later takes the
parts that its track may see. Cases are what people decided before about this company and its industry,
by cosine of at least 0.7; words of INTERNAL papers never go to an embedding outside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import anyio
import orjson

from rkyc.errors import EmbeddingPartialFailure, EmbeddingTimeoutError
from rkyc.flow.context import StepContext
from rkyc.providers.embedding.embedder import Embedder
from rkyc.providers.embedding.lexical import LexicalEmbedding, lexical_vectors
from rkyc.providers.embedding.types import cosine, normalise
from rkyc.steps.kyc.material import Material, read_material
from rkyc.steps.kyc.packing import Part, list_event_parts, list_fact_parts, list_passage_parts, pack
from rkyc.steps.kyc.schemas import ContextOut, DocIngestOut, ExternalOut, KycInput, SnapshotOut
from rkyc.steps.kyc.sentences import split_sentences
from rkyc.store.kyc import cases, context_packs, snapshots
from rkyc.store.pool import Connection, Pool, Record

_CASES_MAX = 5
_SIMILARITY_MIN = 0.7
# A case is a sentence or two: it is compared with headlines and single sentences, the first of each text.
_SENTENCES_PER_EVENT = 6
_QUERIES_MAX = 200
_EMBEDDING_ATTEMPTS_MAX = 3


@dataclass(frozen=True, slots=True)
class _Pending:
    job_id: UUID
    parts: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class _Vectors:
    """The journalled answer of the embedding."""

    vectors: list[list[float]]


async def run(
    ctx: StepContext,
    input: ExternalOut,
    job: KycInput,
    snapshot: SnapshotOut,
    doc_ingest: DocIngestOut,
) -> ContextOut:
    """Choose the parts and the similar cases."""
    embedder = ctx.use(Embedder)
    async with ctx.use(Pool).connection() as conn:
        material = await read_material(conn, ctx.job_id, job.corp)
        version = await snapshots.read_version(conn, snapshot.corp_id, snapshot.snapshot_version)
        known_cases = await cases.list_cases(
            conn, corp_id=snapshot.corp_id, industry_code=job.corp.industry_code, model=embedder.model
        )
    doc = version.doc if version is not None else {}
    is_listed = job.corp.listed_code is not None
    facts = list_fact_parts(doc, snapshot.changed_paths, snapshot.statements_class, is_listed=is_listed)
    rest = await anyio.to_thread.run_sync(_list_text_parts, material)
    similar = await _find_similar(ctx, known_cases, material)
    similar_parts = [_case_part(row) for row in similar]
    chosen, is_truncated = pack([*facts, *rest, *similar_parts])
    parts = tuple(asdict(part) for part in chosen)
    return ContextOut(
        sha256=hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        token_count=sum(part.tokens for part in chosen),
        truncated=is_truncated,
        parts=len(chosen),
        similar_cases=[row["id"] for row in similar],
        pending=_Pending(ctx.job_id, parts),
    )


async def save(conn: Connection, output: ContextOut) -> None:
    """Keep the pack."""
    pending: _Pending = output.pending
    await context_packs.add_context_pack(
        conn,
        job_id=pending.job_id,
        sha256=output.sha256,
        token_count=output.token_count,
        truncated=output.truncated,
        parts=list(pending.parts),
    )


def _list_text_parts(material: Material) -> list[Part]:
    return [*list_passage_parts(material.pages), *list_event_parts(material.events)]


def _case_part(row: Record) -> Part:
    text = f"{row['event_type']}: {row['summary']} ({row['outcome']})"
    # What was decided about a bank's customer is the bank's own.
    return Part(f"case:{row['id']}", "CASE", "INTERNAL", text, len(text), 40.0)


async def _find_similar(ctx: StepContext, known: Sequence[Record], material: Material) -> list[Record]:
    queries = _queries(material) if known else []
    if not queries:
        return []
    stored = [row for row in known if row["vector"] is not None]
    missing = [row for row in known if row["vector"] is None]
    scored: list[tuple[float, int, Record]] = []
    if stored:
        vectors = await _embed(ctx, queries)
        if vectors:
            scored += _score(normalise(vectors), normalise([list(row["vector"]) for row in stored]), stored)
    if missing:
        # A case without a vector of this model is compared by its letters, which stay in this process.
        summaries = [row["summary"] for row in missing]
        scored += _score(lexical_vectors(queries), lexical_vectors(summaries), missing)
    scored.sort(key=lambda each: (-each[0], each[1]))
    return [row for similarity, _, row in scored if similarity >= _SIMILARITY_MIN][:_CASES_MAX]


def _queries(material: Material) -> list[str]:
    texts: list[str] = []
    for event in material.events:
        spans = split_sentences(event.text)[:_SENTENCES_PER_EVENT]
        texts += [event.title, *(event.text[span.start : span.end] for span in spans)]
    return [text for text in dict.fromkeys(texts) if text.strip()][:_QUERIES_MAX]


def _score(queries: Any, vectors: Any, rows: Sequence[Record]) -> list[tuple[float, int, Record]]:
    best = cosine(queries, vectors).max(axis=0)
    return [(float(value), row["id"], row) for value, row in zip(best, rows, strict=True)]


async def _embed(ctx: StepContext, texts: Sequence[str]) -> list[list[float]]:
    """Embed the events' texts, which are PUBLIC; without an answer the step goes on without cases."""
    embedder = ctx.use(Embedder)
    if embedder.name == LexicalEmbedding.name:
        return lexical_vectors(texts).tolist()  # type: ignore[no-any-return]

    async def fetch() -> _Vectors:
        return _Vectors((await embedder.embed(texts)).vectors.tolist())

    try:
        return (await ctx.call("embed:events", fetch, returns=_Vectors)).vectors
    except EmbeddingTimeoutError as error:
        if ctx.attempt < _EMBEDDING_ATTEMPTS_MAX:
            raise
        ctx.warn(error.error_code, f"no similar cases: {error.message}", subject="embedding")
    except EmbeddingPartialFailure as error:
        ctx.warn(error.error_code, f"no similar cases: {error.message}", subject="embedding")
    return []
