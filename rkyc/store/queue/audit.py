"""The audit trail: who did what to what, and when. An entry is written in the transaction of the deed."""

from __future__ import annotations

from rkyc.store.pool import Connection, Record, fetch
from rkyc.store.statements import load

_SQL = load(__file__)


async def write_entry(
    conn: Connection, *, who: str, action: str, kind: str, object: str, details: str | None = None
) -> None:
    """Add an entry; `kind` and `object` say what it was done to, `details` is JSON text. Call it in the deed's transaction."""
    await fetch(
        conn, _SQL["write_entry"], who=who[:200], action=action, kind=kind, object=object, details=details
    )


async def list_entries(
    conn: Connection,
    *,
    object: str | None = None,
    who: str | None = None,
    action: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Record]:
    """Return entries, newest first: id, at, who, action, kind, object, details (JSON text)."""
    return await fetch(
        conn, _SQL["list_entries"], object=object, who=who, action=action, before=before, limit=limit
    )
