"""Buckets of rates: how much is let in per time, in the whole fleet, by the database's clock.

The generic cell rate algorithm: a bucket is one instant, at which all that was let in has drained. Whoever asks is
always let in, at the time at which it fits; nobody asks twice. Source: ITU-T I.371, "Traffic control and congestion
control in B-ISDN", annex A.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from rkyc.store.pool import Connection, fetch, fetch_row
from rkyc.store.statements import load

_SQL = load(__file__)


class Charge(NamedTuple):
    """What is asked of one bucket: `units` at `per_s` units a second, `burst` units ahead of the rate."""

    scope: str
    units: float
    per_s: float
    burst: float


class Admitted(NamedTuple):
    """When a start or a call may begin, and the database's time when it was asked for."""

    start_at: datetime
    now: datetime

    @property
    def wait_s(self) -> float:
        """Seconds until it may begin."""
        return max(0.0, (self.start_at - self.now).total_seconds())


async def reserve_units(conn: Connection, charges: Sequence[Charge], now: datetime | None = None) -> Admitted:
    """Charge all buckets and say when the start may be; without `now` by the database's clock."""
    row = await fetch_row(
        conn,
        _SQL["reserve_units"],
        scopes=[charge.scope for charge in charges],
        costs=[charge.units / charge.per_s for charge in charges],
        bursts=[charge.burst / charge.per_s for charge in charges],
        now=now,
    )
    assert row is not None
    return Admitted(row["start_at"], row["now"])


async def take_units(conn: Connection, charges: Sequence[Charge], now: datetime | None = None) -> float:
    """Charge all buckets and return 0, or charge none and return the seconds until it may fit.

    It fits while no bucket is fuller than its `burst`, whatever the units: large calls wait no longer than small ones.
    """
    values = {
        "scopes": [charge.scope for charge in charges],
        "costs": [charge.units / charge.per_s for charge in charges],
        "bursts": [charge.burst / charge.per_s for charge in charges],
    }
    while True:
        row = await fetch_row(conn, _SQL["take_units"], **values, now=now)
        assert row is not None
        if row["is_known"]:
            return float(row["wait_s"])
        await fetch(conn, _SQL["make_buckets"], scopes=values["scopes"])


async def settle_units(conn: Connection, charges: Sequence[Charge]) -> None:
    """Add to the buckets what was used beyond what was reserved; less than nothing gives back."""
    await fetch(
        conn,
        _SQL["settle_units"],
        scopes=[charge.scope for charge in charges],
        costs=[charge.units / charge.per_s for charge in charges],
    )


async def keep_grant(conn: Connection, *, job_id: int, branch: int, purpose: str, start_at: datetime) -> None:
    """Remember that a task was let in for a later time."""
    await fetch(conn, _SQL["keep_grant"], job_id=job_id, branch=branch, purpose=purpose, start_at=start_at)


async def use_grant(
    conn: Connection, *, job_id: int, branch: int, purpose: str, slack_s: float, now: datetime | None = None
) -> Admitted | None:
    """Return when the task was let in, and use that up if it is now; None: ask anew.

    A grant is worth nothing `slack_s` seconds after its time: many that were held up would begin at once.
    """
    row = await fetch_row(
        conn, _SQL["use_grant"], job_id=job_id, branch=branch, purpose=purpose, slack_s=slack_s, now=now
    )
    return None if row is None or row["is_over"] else Admitted(row["start_at"], row["now"])


async def prune_grants(conn: Connection) -> None:
    """Forget what nobody came for."""
    await fetch(conn, _SQL["prune_grants"])


async def prune_buckets(conn: Connection) -> None:
    """Forget buckets that have drained."""
    await fetch(conn, _SQL["prune_buckets"])
