"""Reads what the items of a map ask for from outside it.

A claim of an item returns its element and what its own branch has done: with all outputs of the job, a
thousand items would read each other's results a thousand times. Few items want more, and read it once.
"""

from __future__ import annotations

import asyncio

from rkyc.errors import DatabaseConnectionError, StoreError
from rkyc.flow.graph import Place
from rkyc.flow.job import Claim
from rkyc.store.pool import Pool
from rkyc.store.queue import maps

# Between two looks while the database is away. Seconds.
PAUSE_S = 0.2


async def borrow_outputs(pool: Pool, claim: Claim, place: Place) -> dict[str, str]:
    """Return the outputs that a map's body asks for from outside, as JSON text by name; waits for the database."""
    while True:
        try:
            async with pool.connection() as conn:
                return await maps.read_outputs_outside(conn, claim.job_id, place.borrows)
        except (DatabaseConnectionError, StoreError):
            await asyncio.sleep(PAUSE_S)
