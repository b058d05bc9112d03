"""How long a backlog takes: jobs that all wait before the first worker may claim.

The clock runs from the first line of the first body until the store itself says that every job is
finished. Marks in shared memory tell when that is near, so that nobody asks the database meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import asyncpg

from bench import bare
from bench.harness import Bench, Connection, command, wait_until
from bench.machine import cpu_s, peak_rss_mb, server_cpu_s
from bench.marks import PROCESSES_MAX, Marks
from bench.measure import Sample
from rkyc.engine.client import Client

# Rows of one INSERT of the baseline, as many as the product takes.
_INSERT_ROWS = 1000
_UNFINISHED = "SELECT count(*) FROM rkyc.job j WHERE NOT EXISTS (SELECT FROM rkyc.history h WHERE h.job_id = j.id AND h.state = 'completed')"


@dataclass(frozen=True, slots=True)
class Backlog:
    """`jobs` jobs of `steps` steps that each wait `pause_s` seconds; `pipeline` is the probe that does so."""

    pipeline: str
    jobs: int
    steps: int
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Drained:
    """What one run cost: seconds of the wall and of the processors, memory of the largest worker, WAL."""

    jobs: int
    steps: int
    seconds: float
    worker_cpu_s: float
    postgres_cpu_s: float
    peak_rss_mb: float
    wal_bytes: int

    def as_rate(self) -> Sample:
        """Return jobs per second, with the costs of a step."""
        steps = self.jobs * self.steps
        costs = {
            "worker_us_per_step": self.worker_cpu_s / steps * 1e6,
            "postgres_us_per_step": self.postgres_cpu_s / steps * 1e6,
            "wal_bytes_per_step": self.wal_bytes / steps,
        }
        return Sample(self.jobs / self.seconds, costs)


async def drain_by_rkyc(
    bench: Bench,
    backlog: Backlog,
    *,
    slots: int = 200,
    prefetch: int = 0,
    processes: int = 1,
    check: Callable[[Connection], Awaitable[None]] | None = None,
) -> Drained:
    """Let workers of the product run the backlog; `check` may look at the database afterwards."""
    async with bench.rkyc_database() as (dsn, client):
        await enqueue(client, backlog)
        marks = bench.make_marks(1)
        commands = [
            command(
                "bench.worker_process",
                dsn=dsn,
                marks=marks.path,
                process=number,
                slots=slots,
                prefetch=prefetch,
            )
            for number in range(processes)
        ]
        conn = await asyncpg.connect(dsn)
        try:

            async def is_done() -> bool:
                # All bodies have begun, so nothing is ready any more.
                return not await conn.fetchval("SELECT EXISTS (SELECT FROM rkyc.running)")

            drained = await _drain(bench, backlog, commands, marks, is_done)
            if unfinished := await conn.fetchval(_UNFINISHED):
                raise SystemExit(
                    f"{unfinished} of {backlog.jobs} jobs are not in history: the engine lost them"
                )
            if check is not None:
                await check(conn)
            return drained
        finally:
            await conn.close()


async def drain_by_bare_sql(
    bench: Bench, backlog: Backlog, *, slots: int = 200, processes: int = 1
) -> Drained:
    """Let workers of the baseline run the same backlog."""
    async with bench.bare_database() as (dsn, conn):
        await insert_bare(conn, backlog.jobs)
        await conn.execute("ANALYZE task")
        marks = bench.make_marks(1)
        commands = [
            command(
                "bench.bare",
                dsn=dsn,
                marks=marks.path,
                process=number,
                slots=slots,
                steps=backlog.steps,
                pause=backlog.pause_s,
            )
            for number in range(processes)
        ]

        async def is_done() -> bool:
            return bool(await conn.fetchval(bare.SQL["count_finished"].text) == backlog.jobs)

        return await _drain(bench, backlog, commands, marks, is_done)


async def enqueue(client: Client, backlog: Backlog) -> None:
    """Enqueue the backlog's jobs, numbered from 0."""
    await client.enqueue_many(backlog.pipeline, [{"n": n} for n in range(backlog.jobs)])


async def insert_bare(conn: Connection, jobs: int) -> None:
    """Insert as many tasks into the baseline's table, numbered from 0."""
    for start in range(0, jobs, _INSERT_ROWS):
        inputs = [f'{{"n": {n}}}' for n in range(start, min(jobs, start + _INSERT_ROWS))]
        await conn.fetch(bare.SQL["insert_tasks"].text, inputs)


async def _drain(
    bench: Bench,
    backlog: Backlog,
    commands: Sequence[Sequence[object]],
    marks: Marks,
    is_done: Callable[[], Awaitable[bool]],
) -> Drained:
    assert len(commands) <= PROCESSES_MAX
    bodies = backlog.jobs * backlog.steps
    async with bench.processes(commands) as processes:
        worker_cpu = sum(cpu_s(process.pid) for process in processes)
        wal = await bench.wal_bytes()
        server_cpu = server_cpu_s(bench.postmaster)
        for process in processes:
            process.open_gate()
        await wait_until(lambda: marks.total() >= bodies, what=f"{bodies} bodies begun")
        # The last commits are a moment away.
        while not await is_done():
            pass
        seconds = time.monotonic() - marks.first_at()
        return Drained(
            backlog.jobs,
            backlog.steps,
            seconds,
            sum(cpu_s(process.pid) for process in processes) - worker_cpu,
            server_cpu_s(bench.postmaster) - server_cpu,
            max(peak_rss_mb(process.pid) for process in processes),
            await bench.wal_bytes() - wal,
        )
