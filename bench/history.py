"""Does a past cost anything: a million finished jobs (ten with --long) and a tenth as many scheduled ones?

Claims of one task alternate between an empty database and a full one, so that whatever else the machine
and the disk do meets both; their pages are counted by EXPLAIN. Then backlogs run: in an empty database, in the
full one, and in one whose worker planned its statements on vacuumed empty tables that were filled
afterwards. Every backlog is committed at once, while the worker is there and warm.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from bench.backlog import Backlog
from bench.filled import fill
from bench.harness import Bench, command, run_case, wait_until
from bench.measure import Measure, Sample, measure_in_turn, pick_quantile
from bench.pages import count_pages
from bench.pipelines import STEPS
from rkyc.engine.client import Client
from rkyc.flow.cursor import ClaimCursor
from rkyc.flow.ids import RANDOM_BYTES, make_uuid7
from rkyc.store.pool import Connection
from rkyc.store.queue import jobs, tasks

FINISHED, FINISHED_LONG = 1_000_000, 10_000_000
FINISHED_PER_SCHEDULED = 10
# Of one round: with five rounds more than 10,000.
CLAIMS = 2_500
NOOP, EIGHT = Backlog("noop", 20_000, 1), Backlog("eight", 3_000, STEPS)
SLOTS = 500
# Jobs one at a time before the backlog: every statement of the worker has its plan.
WARM_UP = 20
# Rows that come after plans were made on empty tables.
FILLED_LATER = 100_000
_INSERT_ROWS = 1_000
_AGAINST = "an empty database"


@dataclass(frozen=True, slots=True)
class Place:
    """A database, and a client on it."""

    dsn: str
    client: Client


async def measure(bench: Bench, *, finished: int | None = None) -> list[Measure]:
    """Return milliseconds per claim, pages per claim, and jobs per second, each beside an empty database."""
    finished = finished or (FINISHED_LONG if bench.is_long else FINISHED)
    async with bench.rkyc_database() as (dsn, client):
        full = Place(dsn, client)
        began = time.monotonic()
        await _fill(full, finished)
        print(
            f"history · {finished:,} finished jobs made in {time.monotonic() - began:.0f} s", file=sys.stderr
        )
        claims = await _measure_claims(bench, full)
        return claims + [
            one for backlog in (NOOP, EIGHT) for one in await _measure_rates(bench, backlog, full)
        ]


async def _fill(place: Place, finished: int) -> None:
    pool = await place.client.pool()
    async with pool.connection() as conn:
        await fill(conn, finished=finished, scheduled=finished // FINISHED_PER_SCHEDULED)
        await conn.execute("VACUUM ANALYZE", timeout=None)
        await conn.execute("CHECKPOINT", timeout=None)


async def _measure_claims(bench: Bench, full: Place) -> list[Measure]:
    async with bench.rkyc_database() as (dsn, client):
        places = {"empty": Place(dsn, client), "full": full}
        rounds = [await _time_claims(places) for _ in range(-1, bench.runs)][1:]
    return [
        Measure(
            f"claim, {name}",
            unit,
            [Sample(pick(one["full"])) for one in rounds],
            [Sample(pick(one["empty"])) for one in rounds],
            more_is_better=False,
            against=_AGAINST,
        )
        for name, unit, pick in (
            ("p50", "ms", lambda seen: pick_quantile(seen.ms, 0.5)),
            ("p99", "ms", lambda seen: pick_quantile(seen.ms, 0.99)),
            ("pages", "pages", lambda seen: float(seen.pages)),
        )
    ]


@dataclass(frozen=True, slots=True)
class Claims:
    """What one round saw in one database."""

    ms: list[float]
    pages: int


async def _time_claims(places: dict[str, Place]) -> dict[str, Claims]:
    """Claim in turn, one task here and one there; the claimed tasks are finished jobs no more and stay."""
    found = {name: Claims([], 0) for name in places}
    connections: dict[str, Connection] = {}
    cursors = {name: ClaimCursor() for name in places}
    try:
        for name, place in places.items():
            pool = await place.client.pool()
            connections[name] = conn = await pool.dedicated(application_name="bench claim")
            # What the round before claimed is no part of this one.
            await conn.execute("DELETE FROM rkyc.ready")
            await conn.execute("DELETE FROM rkyc.running")
            await conn.execute("VACUUM rkyc.ready, rkyc.running")
            await _enqueue_at_once(place, Backlog("noop", CLAIMS, 1))
            # The first of a session looks for the page to write to.
            await _count_pages(conn)
            found[name] = Claims([], await _count_pages(conn))
        for number in range(CLAIMS):
            names = list(places) if number % 2 else list(reversed(places))
            for name in names:
                found[name].ms.append(await _time_claim(connections[name], cursors[name]))
    finally:
        for conn in connections.values():
            conn.terminate()
    return found


async def _time_claim(conn: Connection, cursor: ClaimCursor) -> float:
    """Claim one task and return how many milliseconds it took."""
    now = datetime.now(UTC)
    began = time.perf_counter()
    answer = await tasks.claim_tasks(conn, lane="default", after=cursor.after, slots=1, worker_id=1, now=now)
    ms = (time.perf_counter() - began) * 1e3
    cursor.note_claim(answer.claims[0].fence, answer.xmin, answer.bound, is_full=True)
    return ms


async def _count_pages(conn: Connection) -> int:
    """Return how many pages a claim of one task touches."""
    statement = tasks._SQL["claim_tasks"]
    values = {"lane": "default", "after": 0, "slots": 1, "worker_id": 1, "now": datetime.now(UTC)}
    transaction = conn.transaction()
    await transaction.start()
    try:
        text = await conn.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.text}", *statement.args(**values)
        )
    finally:
        await transaction.rollback()
    return count_pages(json.loads(text)[0]["Plan"])


async def _measure_rates(bench: Bench, backlog: Backlog, full: Place) -> list[Measure]:
    async def in_empty() -> Sample:
        async with bench.rkyc_database() as (dsn, client):
            return await _drain(bench, Place(dsn, client), backlog)

    async def in_full() -> Sample:
        pool = await full.client.pool()
        async with pool.connection() as conn:
            # The claims left tasks there; and no run shall find the dead rows of the one before, or pay for its writes.
            await conn.execute("DELETE FROM rkyc.ready")
            await conn.execute("DELETE FROM rkyc.running")
            await conn.execute("VACUUM rkyc.ready, rkyc.running")
            await conn.execute("CHECKPOINT", timeout=None)
        return await _drain(bench, full, backlog)

    async def planned_on_empty() -> Sample:
        async with bench.rkyc_database() as (dsn, client):
            place = Place(dsn, client)
            pool = await client.pool()
            async with pool.connection() as conn:
                await conn.execute("VACUUM ANALYZE")

                async def fill_later() -> None:
                    await fill(conn, finished=FILLED_LATER, scheduled=FILLED_LATER // FINISHED_PER_SCHEDULED)

                return await _drain(bench, place, backlog, fill_later)

    samples = await measure_in_turn(
        bench.runs, {"empty": in_empty, "full": in_full, "planned": planned_on_empty}
    )
    beside = partial(Measure, unit="jobs/s", baseline=samples["empty"], against=_AGAINST)
    return [
        beside(f"{backlog.pipeline}, full", samples=samples["full"]),
        beside(f"{backlog.pipeline}, planned on empty tables", samples=samples["planned"]),
    ]


async def _drain(
    bench: Bench,
    place: Place,
    backlog: Backlog,
    after_warm_up: Callable[[], Awaitable[None]] | None = None,
) -> Sample:
    """Let one warm worker run a backlog that is there all at once; return jobs per second."""
    marks = bench.make_marks(1)
    prefetch = SLOTS if backlog.steps == 1 else 0
    start = command("bench.worker_process", dsn=place.dsn, marks=marks.path, slots=SLOTS, prefetch=prefetch)
    async with bench.processes([start]) as (worker,):
        worker.open_gate()
        await worker.expect("serving")
        for number in range(WARM_UP):
            await place.client.result(await place.client.enqueue(backlog.pipeline, {"n": number}), 30)
        if after_warm_up is not None:
            await after_warm_up()
        newest = await _enqueue_at_once(place, backlog)
        began = time.monotonic()
        bodies = (WARM_UP + backlog.jobs) * backlog.steps
        await wait_until(lambda: marks.total() >= bodies, what=f"{bodies} bodies begun")
        pool = await place.client.pool()
        async with pool.connection() as conn:
            # The last bodies have begun: their commits are a moment away.
            while (
                await conn.fetchval("SELECT count(*) FROM rkyc.history WHERE job_id > $1", newest)
                < backlog.jobs
            ):
                pass
        return Sample(backlog.jobs / (time.monotonic() - began))


async def _enqueue_at_once(place: Place, backlog: Backlog) -> int:
    """Commit the whole backlog in one moment; return the number of the newest job before it."""
    pool = await place.client.pool()
    async with pool.transaction() as conn:
        newest: int = await conn.fetchval("SELECT coalesce(max(id), 0) FROM rkyc.job")
        for start in range(0, backlog.jobs, _INSERT_ROWS):
            inputs = [f'{{"n": {n}}}' for n in range(start, min(backlog.jobs, start + _INSERT_ROWS))]
            ids = [make_uuid7(time.time_ns() // 1_000_000, os.urandom(RANDOM_BYTES)) for _ in inputs]
            await jobs.enqueue_jobs(conn, jobs.NewJobs(backlog.pipeline), ids, inputs)
        await jobs.notify(conn, jobs.WAKE_CHANNEL, ["default"])
    return newest


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--rows", type=int, help="finished jobs of the full database")
    options, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    run_case("history", partial(measure, finished=options.rows))


if __name__ == "__main__":
    main()
