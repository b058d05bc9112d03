"""What the tests of schedules count: the ticks that started a job."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from rkyc.store.pool import Pool
from tests.support.engine import query


async def read_ticks(pool: Pool, schedule: str) -> list[datetime]:
    """Return the tick of each job of a schedule, as its metadata names it, in order."""
    rows = await query(
        pool, "SELECT metadata ->> 'tick' AS tick FROM rkyc.job WHERE metadata ->> 'schedule' = $1", schedule
    )
    return sorted(datetime.fromisoformat(row["tick"]) for row in rows)


def check_ticks(ticks: list[datetime], interval: timedelta) -> None:
    """Fail unless each tick from the first to the last started exactly one job."""
    twice = [tick for tick, number in Counter(ticks).items() if number > 1]
    assert not twice
    expected = [ticks[0] + number * interval for number in range(len(ticks))]
    assert ticks == expected
