"""Vectors of texts, by owner, model and text: the same text is never embedded twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rkyc.store.pool import Connection, Record, execute_many, fetch
from rkyc.store.statements import load

_SQL = load(__file__)


@dataclass(frozen=True, slots=True)
class EmbeddingRow:
    """`owner_type` is risk_signal, case, event or page; `vector` holds `dim` float32 values."""

    owner_type: str
    owner_id: int
    model: str
    text_sha256: str
    vector: tuple[float, ...]


async def add_embeddings(conn: Connection, rows: Sequence[EmbeddingRow]) -> None:
    """Keep vectors. Repeatable."""
    await execute_many(
        conn,
        _SQL["add_embedding"],
        [
            {
                "owner_type": row.owner_type,
                "owner_id": row.owner_id,
                "model": row.model,
                "text_sha256": row.text_sha256,
                "vector": list(row.vector),
            }
            for row in rows
        ],
    )


async def read_embeddings(
    conn: Connection, *, owner_type: str, model: str, owner_ids: Sequence[int]
) -> list[Record]:
    """Return (owner_id, text_sha256, vector) of what these owners have under this model."""
    return await fetch(
        conn, _SQL["read_embeddings"], owner_type=owner_type, model=model, owner_ids=list(owner_ids)
    )
