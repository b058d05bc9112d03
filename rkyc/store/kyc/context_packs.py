"""The packed context of a run: the parts that fit the budget, each with its data class."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson

from rkyc.store.pool import Connection, fetch_row
from rkyc.store.statements import load

_SQL = load(__file__)


async def add_context_pack(
    conn: Connection,
    *,
    job_id: UUID,
    sha256: str,
    token_count: int,
    truncated: bool,
    parts: list[dict[str, Any]],
) -> None:
    """Keep a pack; `parts` are `{ref, data_class, tokens, text, …}` in order of worth. Repeatable."""
    statement = _SQL["add_context_pack"]
    args = statement.args(
        job_id=job_id,
        sha256=sha256,
        token_count=token_count,
        truncated=truncated,
        parts=orjson.dumps(parts).decode(),
    )
    await conn.execute(statement.text, *args)


async def read_context_parts(conn: Connection, job_id: UUID, sha256: str) -> list[dict[str, Any]] | None:
    """Return the parts of a run's pack, or None."""
    row = await fetch_row(conn, _SQL["read_context_pack"], job_id=job_id, sha256=sha256)
    if row is None:
        return None
    parts: list[dict[str, Any]] = orjson.loads(row["parts"])
    return parts
