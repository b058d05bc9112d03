"""What does each decision about the store's layout cost or give?

Runs the engine's own statements, read from its files, on one connection: enqueue, claim, advance,
finish, in batches. A variant changes a table or one statement; variants are measured in turn, and the
ratio is the variant's speed relative to what the product does. What they show, and what was decided,
stands in docs/decisions.md. An edit that no longer fits its statement ends the run.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import asyncpg

from bench.harness import Bench, Connection, run_case
from bench.machine import cpu_s
from bench.measure import Measure, Sample, measure_in_turn
from bench.pipelines import TEXT
from rkyc.flow.cursor import ClaimCursor
from rkyc.flow.ids import RANDOM_BYTES, make_uuid7
from rkyc.store.queue import commits, jobs, tasks
from rkyc.store.statements import Statement, load

_OWN = load(__file__)
_PRODUCT = {
    name: statement
    for module in (jobs, tasks, commits)
    for name, statement in load(str(module.__file__)).items()
}
JOBS = 20_000
BATCH = 500
PIPELINE, LANE = "eight", "default"


@dataclass(frozen=True, slots=True)
class Variant:
    """`ddl` changes the migrated tables, `edits` (statement -> old and new text) the statements, `swaps` replaces them."""

    name: str
    ddl: str = ""
    edits: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    swaps: Mapping[str, str] = field(default_factory=dict)
    has_cursor: bool = True
    # The product's statements must hold without fresh statistics; another layout is given its best.
    is_analyzed: bool = False

    def statements(self) -> dict[str, Statement]:
        """Return the product's statements with this variant's changes."""
        changed = {name: _OWN[own] for name, own in self.swaps.items()}
        for name, edits in self.edits.items():
            text = _PRODUCT[name].text
            for old, new in edits:
                if text.count(old) != 1:
                    raise SystemExit(
                        f"variant {self.name}: {old!r} does not stand once in {name}; mend the edit"
                    )
                text = text.replace(old, new)
            changed[name] = _Edited(_PRODUCT[name], text)
        return {**_PRODUCT, **changed}


class _Edited(Statement):
    """A statement of the product with other text and the same parameters."""

    __slots__ = ()

    def __init__(self, original: Statement, text: str) -> None:
        self.name, self.params, self.text = original.name, original.params, text


@dataclass(frozen=True, slots=True)
class Question:
    """Which phases count, how many steps run between claim and finish, and whether a snapshot is pinned."""

    name: str
    phases: Sequence[str]
    variants: Sequence[Variant]
    steps: int = 0
    is_pinned: bool = False
    jobs: int = JOBS
    batch: int = BATCH


_CHOSEN = Variant("as built")
# Its claim takes the same cursor, so that what differs is the table alone.
_ONE_TABLE = Variant(
    "one table with a state",
    ddl=_OWN["create_one_table"].text,
    swaps={
        "enqueue_jobs": "enqueue_into_one",
        "claim_tasks": "claim_in_one",
        "finish_tasks": "finish_in_one",
    },
    is_analyzed=True,
)
_NO_CURSOR = Variant("hot tables, claim without cursor", has_cursor=False)
# What the edits put in; the columns are those of the statements that they change.
_SAVE_LAST = """
), saved AS (
  INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, attempt, fence, worker_id, output, degraded, warnings, metadata, started_at, finished_at)
  SELECT job_id, seq, branch, step, attempt, fence, $12, output::jsonb, degraded, warnings::jsonb, metadata::jsonb, to_timestamp(step_started_at), $13
  FROM held
)
"""
_TELL = """RETURNING job_id, seq, branch, step, attempt, worker_id, finished_at
), told AS (
  INSERT INTO rkyc.event (job_id, seq, type, branch, step, attempt, worker_id, at)
  SELECT job_id, seq, 'step.completed', branch, step, attempt, worker_id, finished_at FROM saved
)
SELECT job_id, branch FROM saved"""

QUESTIONS = (
    Question("hot tables", ("enqueue", "claim", "finish"), (_CHOSEN, _ONE_TABLE)),
    Question(
        "claim of 60,000 jobs by 100 under a pinned snapshot",
        ("claim",),
        (_CHOSEN, _NO_CURSOR, _ONE_TABLE),
        is_pinned=True,
        jobs=60_000,
        batch=100,
    ),
    Question(
        "lock of the lease",
        ("advance",),
        (
            _CHOSEN,
            Variant(
                "plain join, no FOR SHARE",
                edits={"advance_tasks": [("r.fence = d.fence FOR SHARE", "r.fence = d.fence")]},
            ),
        ),
        steps=7,
    ),
    Question(
        "last output in history",
        ("finish",),
        (
            _CHOSEN,
            Variant(
                "as a checkpoint too",
                edits={
                    "finish_tasks": [
                        (
                            "\n)\nINSERT INTO rkyc.history",
                            _SAVE_LAST + "INSERT INTO rkyc.history",
                        )
                    ]
                },
            ),
            Variant(
                "history within checkpoint",
                ddl="""
                ALTER TABLE rkyc.checkpoint ADD state rkyc.job_state, ADD error_code text, ADD error_class text, ADD error_message text,
                  ADD error_details jsonb, ADD error_attempts smallint, ADD crash_attempts smallint, ADD open_tasks jsonb, ADD step_started_at timestamptz;
                CREATE UNIQUE INDEX ON rkyc.checkpoint (job_id) WHERE state IS NOT NULL;
                CREATE INDEX ON rkyc.checkpoint (finished_at) WHERE state IS NOT NULL;""",
                edits={
                    "finish_tasks": [
                        ("INSERT INTO rkyc.history", "INSERT INTO rkyc.checkpoint"),
                        ("worker_id, result,", "worker_id, output,"),
                    ]
                },
            ),
        ),
        steps=1,
    ),
    Question(
        "unique index on the public id",
        ("enqueue",),
        (_CHOSEN, Variant("none", ddl="ALTER TABLE rkyc.job DROP CONSTRAINT job_uuid_key")),
    ),
    Question(
        "index on ready (job_id)",
        ("enqueue", "claim"),
        (_CHOSEN, Variant("none", ddl="DROP INDEX rkyc.ready_job")),
    ),
    Question(
        "events derived from checkpoints",
        ("advance",),
        (
            _CHOSEN,
            Variant(
                "an event row per step",
                edits={
                    "advance_tasks": [
                        ("\n)\nINSERT INTO rkyc.checkpoint", "\n), saved AS (INSERT INTO rkyc.checkpoint"),
                        ("\n) held", "\n) held\n" + _TELL),
                    ]
                },
            ),
        ),
        steps=7,
    ),
)


async def measure(bench: Bench) -> list[Measure]:
    """Return the speed of each variant, with that of the product as the baseline."""
    found = []
    for question in QUESTIONS:
        sides = {variant.name: partial(_run, bench, question, variant) for variant in question.variants}
        samples = await measure_in_turn(bench.runs, sides)
        unit = "steps/s" if question.phases == ("advance",) else "jobs/s"
        for variant in question.variants:
            is_chosen = variant is _CHOSEN
            found.append(
                Measure(
                    f"{question.name}: {variant.name}",
                    unit,
                    samples[variant.name],
                    () if is_chosen else samples[_CHOSEN.name],
                    against=_CHOSEN.name,
                )
            )
    return found


async def _run(bench: Bench, question: Question, variant: Variant) -> Sample:
    """Move all jobs once through the question's phases on a fresh database."""
    async with bench.rkyc_database() as (dsn, _), _connect(dsn) as conn:
        if variant.ddl:
            await conn.execute(variant.ddl)
        flow = Flow(conn, variant)
        await flow.enqueue(question.jobs)
        if variant.is_analyzed:
            await conn.execute("ANALYZE")
        async with _pin(dsn, is_pinned=question.is_pinned):
            while await flow.move_batch(question.batch, question.steps):
                pass
        if flow.moved != question.jobs:
            raise SystemExit(f"variant {variant.name}: {flow.moved} of {question.jobs} jobs were finished")
        costs = [flow.costs[phase] for phase in question.phases]
        rows = question.jobs * (question.steps if question.phases == ("advance",) else 1)
        return Sample(
            rows / sum(cost.seconds for cost in costs),
            {
                "postgres_us": sum(cost.backend_cpu_s for cost in costs) / rows * 1e6,
                "wal_bytes": sum(cost.wal_bytes for cost in costs) / rows,
            },
        )


@dataclass(slots=True)
class Cost:
    """What the statements of one phase took so far."""

    seconds: float = 0.0
    backend_cpu_s: float = 0.0
    wal_bytes: int = 0


class Flow:
    """The life of jobs by the statements of a variant; measures each phase."""

    def __init__(self, conn: Connection, variant: Variant) -> None:
        self._conn = conn
        self._variant = variant
        self._statements = variant.statements()
        self._cursor = ClaimCursor()
        self.costs = {phase: Cost() for phase in ("enqueue", "claim", "advance", "finish")}
        self.moved = 0

    async def enqueue(self, count: int) -> None:
        for start in range(0, count, 1000):
            await self._call(
                "enqueue",
                "enqueue_jobs",
                pipeline=PIPELINE,
                lane=LANE,
                uuids=[_new_id() for _ in range(1000)],
                inputs=[f'{{"n": {n}}}' for n in range(start, start + 1000)],
            )

    async def move_batch(self, size: int, steps: int) -> int:
        """Claim a batch, let it make its steps, finish it; return how many tasks it had."""
        after = self._cursor.after if self._variant.has_cursor else 0
        rows = await self._call("claim", "claim_tasks", lane=LANE, after=after, slots=size)
        rows = [row for row in rows if row["job_id"] is not None]
        if not rows:
            return 0
        bounds = rows[0]["xmin"], max(row["bound"] for row in rows)
        self._cursor.note_claim(max(row["fence"] for row in rows), *bounds, is_full=len(rows) == size)
        for seq in range(1, steps + 1):
            await self._commit("advance", "advance_tasks", rows, seq)
        await self._commit("finish", "finish_tasks", rows, steps + 1)
        self.moved += len(rows)
        return len(rows)

    async def _commit(
        self, phase: str, statement: str, rows: Sequence[asyncpg.Record], seq: int
    ) -> Sequence[asyncpg.Record]:
        count = len(rows)
        return await self._call(
            phase,
            statement,
            job_ids=[row["job_id"] for row in rows],
            branches=[0] * count,
            fences=[row["fence"] for row in rows],
            seqs=[seq] * count,
            steps=[f"s{seq - 1}"] * count,
            next_steps=[f"s{seq}"] * count,
            attempts=[1] * count,
            outputs=[f'{{"n": {row["job_id"]}, "text": "{TEXT}"}}' for row in rows],
            degraded=[False] * count,
            warnings=[None] * count,
            metadata=[None] * count,
            started_ats=[time.time()] * count,
        )

    async def _call(self, phase: str, name: str, **values: object) -> Sequence[asyncpg.Record]:
        statement, cost = self._statements[name], self.costs[phase]
        given = {"worker_id": 1, "now": datetime.now(UTC), **values}
        arguments = [given.get(param) for param in statement.params]
        backend = self._conn.get_server_pid()
        wal, cpu, began = await self._wal(), cpu_s(backend), time.monotonic()
        rows: Sequence[asyncpg.Record] = await self._conn.fetch(statement.text, *arguments)
        cost.seconds += time.monotonic() - began
        cost.backend_cpu_s += cpu_s(backend) - cpu
        cost.wal_bytes += await self._wal() - wal
        return rows

    async def _wal(self) -> int:
        value: int = await self._conn.fetchval(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
        )
        return value


@contextlib.asynccontextmanager
async def _connect(dsn: str) -> AsyncIterator[Connection]:
    conn = await asyncpg.connect(dsn)
    try:
        yield conn
    finally:
        await conn.close()


@contextlib.asynccontextmanager
async def _pin(dsn: str, *, is_pinned: bool) -> AsyncIterator[None]:
    """Hold a snapshot in another session, as a report or a backup would."""
    if not is_pinned:
        yield
        return
    async with _connect(dsn) as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        await conn.fetch("SELECT 1")
        yield


def _new_id() -> UUID:
    return make_uuid7(time.time_ns() // 1_000_000, os.urandom(RANDOM_BYTES))


if __name__ == "__main__":
    run_case("layout", measure)
