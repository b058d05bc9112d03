"""A pack is kept per run and content."""

from __future__ import annotations

from uuid import uuid4

import pytest

from rkyc.store.kyc.context_packs import add_context_pack, read_context_parts
from rkyc.store.pool import Pool

pytestmark = pytest.mark.anyio


async def test_pack_is_read_back_as_it_was_and_kept_once(pool: Pool) -> None:
    job_id, sha256 = uuid4(), "c" * 64
    parts = [{"ref": "documents/a.txt:1", "data_class": "INTERNAL", "tokens": 3, "text": "🚨 첫 쪽"}]
    async with pool.connection() as conn:
        for kept in (parts, []):
            await add_context_pack(
                conn, job_id=job_id, sha256=sha256, token_count=3, truncated=False, parts=kept
            )
        assert await read_context_parts(conn, job_id, sha256) == parts
        assert await read_context_parts(conn, job_id, "d" * 64) is None
