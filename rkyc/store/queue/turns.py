"""Turns of fairness keys: tasks of jobs that were enqueued with a key, claimed in the order of what each key has had.

Start-time fair queueing: a task's turn is what its key had before it, in tasks divided by the key's weight; the lowest
turn goes first. Source: P. Goyal, H. Vin, H. Cheng, "Start-time Fair Queueing", SIGCOMM 1996. Jobs without a key
never come here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, fetch
from rkyc.store.statements import load

_SQL = load(__file__)


async def lock_turns(conn: Connection, lane: str, now: datetime) -> None:
    """Keep others from handing out turns of the lane until the transaction ends."""
    await fetch(conn, _SQL["lock_turns"], lane=lane, now=now)


async def find_turn_lanes(conn: Connection, lanes: Sequence[str]) -> list[str]:
    """Return those of the lanes, in their order, in which tasks wait for a turn."""
    return [row["lane"] for row in await fetch(conn, _SQL["find_turn_lanes"], lanes=lanes)]


async def claim_turns(
    conn: Connection, *, lane: str, slots: int, burst: float, keys_max: int, worker_id: int, now: datetime
) -> list[Claim]:
    """Take at most `slots` tasks of a lane whose turn it is; call `lock_turns` before, in one transaction.

    A key that was away is behind the others by `burst` tasks at most.
    """
    rows = await fetch(
        conn,
        _SQL["claim_turns"],
        lane=lane,
        slots=slots,
        burst=burst,
        keys_max=keys_max,
        worker_id=worker_id,
        now=now,
    )
    return [Claim(*row) for row in rows]


async def prune_turns(conn: Connection, now: datetime) -> None:
    """Forget keys that have had nothing for a day."""
    await fetch(conn, _SQL["prune_turns"], now=now)
