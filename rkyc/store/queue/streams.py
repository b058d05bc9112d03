"""Tokens between the step that emits them and those who watch, and the marks that history keeps of them.

A job's chunks are numbered in the order of their commits (`seq`), so that a reader that goes on after the
last one it saw misses none and gets none twice. The tables of the chunks are emptied by a crash of the
server; a reader whose place they do not know is told so (`is_lost`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rkyc.store.pool import Connection, Record, fetch
from rkyc.store.statements import load

_SQL = load(__file__)
STREAM_CHANNEL = "rkyc_stream"


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of an attempt's text, under its lease; `number` counts from 0 within the attempt."""

    job_id: int
    branch: int
    fence: int
    step: str
    attempt: int
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """An attempt's stream began or ended; `events` is the number of the job's last event before it."""

    job_id: int
    branch: int
    fence: int
    events: int
    step: str
    attempt: int
    is_end: bool
    chunks: int
    chars: int


async def write_chunks(conn: Connection, chunks: Sequence[Chunk], *, notice: str) -> set[tuple[int, int]]:
    """Append chunks and tell `notice` to those who listen; return (job, branch) of those whose lease held."""
    rows = await fetch(
        conn,
        _SQL["write_chunks"],
        job_ids=[c.job_id for c in chunks],
        branches=[c.branch for c in chunks],
        fences=[c.fence for c in chunks],
        steps=[c.step for c in chunks],
        attempts=[c.attempt for c in chunks],
        numbers=[c.number for c in chunks],
        texts=[c.text for c in chunks],
        channel=STREAM_CHANNEL,
        notice=notice,
    )
    return {(row["job_id"], row["branch"]) for row in rows}


async def find_chunks(conn: Connection, chunks: Sequence[Chunk]) -> set[int]:
    """Return the places, in the order given from 0, of the chunks that are written."""
    rows = await fetch(
        conn,
        _SQL["find_chunks"],
        job_ids=[c.job_id for c in chunks],
        fences=[c.fence for c in chunks],
        steps=[c.step for c in chunks],
        numbers=[c.number for c in chunks],
    )
    return {row["place"] - 1 for row in rows}


async def write_marks(conn: Connection, marks: Sequence[Mark], *, now: datetime) -> set[tuple[int, int]]:
    """Write marks, each once; return (job, branch) of those whose lease held."""
    rows = await fetch(
        conn,
        _SQL["write_marks"],
        job_ids=[m.job_id for m in marks],
        branches=[m.branch for m in marks],
        fences=[m.fence for m in marks],
        events=[m.events for m in marks],
        steps=[m.step for m in marks],
        attempts=[m.attempt for m in marks],
        ends=[m.is_end for m in marks],
        chunks=[m.chunks for m in marks],
        chars=[m.chars for m in marks],
        now=now,
    )
    return {(row["job_id"], row["branch"]) for row in rows}


async def read_chunks(conn: Connection, places: Sequence[tuple[int, int]], *, limit: int) -> list[Record]:
    """Return what came after places (job, seq), at most `limit` chunks of each job; 0 for all.

    (job_id, state, first_seq, is_lost, seq, step, attempt, number, is_again, text); a job without chunks has
    one row whose seq is NULL. `state` is that of a job that has ended; `is_lost`: the place is none that the
    table knows, and the rows begin with the first chunk that it has.
    """
    return await fetch(
        conn,
        _SQL["read_chunks"],
        job_ids=[job_id for job_id, _ in places],
        sinces=[since for _, since in places],
        limit=limit,
    )


async def read_ends(conn: Connection, job_id: int) -> list[Record]:
    """Return (step, attempt, chunks, chars) of a job's completed streams, in their order."""
    return await fetch(conn, _SQL["read_ends"], job_id=job_id)


async def drop_streams(conn: Connection, *, before: datetime, limit: int) -> int:
    """Remove the chunks of at most so many jobs that ended before an instant; return of how many."""
    return len(await fetch(conn, _SQL["drop_streams"], before=before, limit=limit))
