"""The places of limits: how many tasks that name a limit run at once, in the whole fleet.

A place is one row; whoever holds it is named by its lease. It is taken only under that lease, and worth nothing once
the lease is gone. Whoever frees a place, or goes to wait for one, calls `offer_slots` after its commit: one of the
two sees the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from rkyc.store.pool import Connection, fetch, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)

Lease = tuple[int, int, int]


class SlotWish(NamedTuple):
    """The lease (job, branch, fence) that asks for a place, of which limit, and the limit's scope."""

    lease: Lease
    name: str
    scope: str


async def declare_limits(conn: Connection, sizes: Mapping[str, int]) -> None:
    """Set the sizes of limits for the fleet."""
    await fetch(conn, _SQL["declare_limits"], names=list(sizes), sizes=list(sizes.values()))


async def take_slots(conn: Connection, wishes: Sequence[SlotWish]) -> set[tuple[int, int, str]]:
    """Take a free place for each wish whose lease holds; return (job, branch, scope) of those that got one."""
    rows = await fetch(
        conn,
        _SQL["take_slots"],
        **_lease_columns([wish.lease for wish in wishes]),
        scopes=[wish.scope for wish in wishes],
        names=[wish.name for wish in wishes],
    )
    return {(row["job_id"], row["branch"], row["scope"]) for row in rows}


async def create_slots(conn: Connection, scopes: Mapping[str, str], now: datetime) -> int:
    """Make the places that are missing, by the limits' sizes; `scopes` gives each one's limit."""
    made: int = await fetch_value(
        conn, _SQL["create_slots"], scopes=list(scopes), names=list(scopes.values()), now=now
    )
    return made


async def free_slots(conn: Connection, leases: Sequence[Lease], now: datetime) -> set[str]:
    """Free whatever these leases hold; return the scopes that have a free place now."""
    return {row["scope"] for row in await fetch(conn, _SQL["free_slots"], **_lease_columns(leases), now=now)}


async def free_orphan_slots(conn: Connection, now: datetime) -> set[str]:
    """Free the places whose leases are gone; return their scopes."""
    return {row["scope"] for row in await fetch(conn, _SQL["free_orphan_slots"], now=now)}


async def offer_slots(
    conn: Connection, scopes: Collection[str], *, promise_s: float, now: datetime
) -> list[str]:
    """Wake one task for each free place; return their lanes, one each.

    A place that was offered is not offered again for `promise_s` seconds: the task is on its way.
    """
    rows = await fetch(conn, _SQL["offer_slots"], scopes=sorted(scopes), promise_s=promise_s, now=now)
    return [row["lane"] for row in rows]


async def find_waited_scopes(conn: Connection) -> list[str]:
    """Return the limits, and their keys, that tasks wait for."""
    return [row["scope"] for row in await fetch(conn, _SQL["find_waited_scopes"])]


async def dismiss_waiters(conn: Connection, scopes: Sequence[str], wake_keys: Sequence[str]) -> list[str]:
    """Wake tasks of these pipelines ("name@version") that wait for these scopes, of each the oldest 1,000, at most 10,000.

    Return their lanes, one each.
    """
    rows = await fetch(conn, _SQL["dismiss_waiters"], scopes=scopes, wake_keys=wake_keys)
    return [row["lane"] for row in rows]


async def prune_slots(conn: Connection, now: datetime) -> None:
    """Forget the places of keys that were not in use for an hour (at most 1,000)."""
    await fetch(conn, _SQL["prune_slots"], now=now)


def _lease_columns(leases: Sequence[Lease]) -> dict[str, list[int]]:
    return {
        "job_ids": [lease[0] for lease in leases],
        "branches": [lease[1] for lease in leases],
        "fences": [lease[2] for lease in leases],
    }
