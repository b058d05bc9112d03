"""What is promised: the rows of the table, each with its goal and its floor, in the table's order.

A goal is what the numbers should reach on a quiet machine with two processors and durable settings;
it is shown as reached or missed. A floor is what must never be lost again: `make bench` ends with 1
when one is missed. Both are about the median, or about the median of the ratios to what the measure is
compared with (`of_ratio`; 1 is equal, more is better). Which side counts the measure says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A measure of a case, the question that it answers, and what is promised about it."""

    case: str
    measure: str
    question: str
    goal: float | None = None
    floor: float | None = None
    of_ratio: bool = False
    limited_by: str = ""

    def judge(
        self, bound: float | None, *, median: float, ratio: float | None, more_is_better: bool
    ) -> bool | None:
        """Whether the bound (the goal, the floor) is reached; None without one."""
        value = ratio if self.of_ratio else median
        if bound is None or value is None:
            return None
        return value >= bound if more_is_better or self.of_ratio else value <= bound


# Within 5 and within 25 percent more time.
_WITHIN_5, _WITHIN_25 = 1 / 1.05, 1 / 1.25

ROWS = (
    Row(
        "noop_throughput",
        "one process, prefetch",
        "No-op jobs, one process, prefetch",
        40_000,
        15_000,
        limited_by="one Python process on one processor",
    ),
    Row(
        "noop_throughput",
        "one process",
        "No-op jobs, one process, no prefetch",
        20_000,
        limited_by="the same, and a claim that waits for free slots",
    ),
    Row(
        "noop_throughput",
        "two processes, prefetch",
        "No-op jobs, two processes",
        limited_by="workers and Postgres share the processors",
    ),
    Row(
        "noop_throughput",
        "four processes, prefetch",
        "No-op jobs, four processes",
        limited_by="workers and Postgres share the processors",
    ),
    Row(
        "noop_throughput",
        "two processes beside one",
        "No-op jobs, a second process beside the first",
        1.0,
        of_ratio=True,
    ),
    Row(
        "eight_steps",
        "many at once",
        "Jobs of 8 durable steps, one process",
        5_000,
        2_000,
        limited_by="one Python process on one processor",
    ),
    Row("eight_steps", "many at once", "… beside group-committed bare SQL", 0.5, of_ratio=True),
    Row(
        "eight_steps",
        "processor time of the process",
        "Processor time per step, process",
        20,
        limited_by="Python's own cost of a task, a call and a row",
    ),
    Row(
        "eight_steps",
        "processor time of Postgres",
        "Processor time per step, Postgres",
        15,
        limited_by="a row, its index entry and the lease's lock",
    ),
    Row("eight_steps", "WAL", "WAL per step", limited_by="the output's bytes, the row's columns, two locks"),
    Row(
        "step_alone",
        "one job at a time",
        "A durable step, one job at a time",
        0.45,
        limited_by="the disk's sync, then the round trip",
    ),
    *(
        Row(
            "call_window",
            f"{jobs}, {quantile}",
            f"Answer of `ctx.call` to its commit, {jobs}, {quantile}",
            limited_by=limit,
        )
        for jobs, limit in (
            ("1 job", "the round trip and the disk's sync"),
            ("20 jobs at once", "the same, and a millisecond in which others may join"),
            ("100 jobs at once", "the same, and the commit that is under way"),
        )
        for quantile in ("p50", "p99")
    ),
    Row(
        "enqueue",
        "one by one",
        "Enqueue, one producer",
        3_000,
        limited_by="the disk's sync, then the round trip",
    ),
    Row(
        "enqueue",
        "32 producers",
        "Enqueue, 32 producers",
        10_000,
        limited_by="one Python process; a transaction per job",
    ),
    Row(
        "enqueue",
        "in bulk",
        "Enqueue, in bulk",
        120_000,
        limited_by="Postgres: rows and index entries of two tables",
    ),
    Row(
        "enqueue",
        "in the caller's transaction",
        "Enqueue, in the caller's transaction",
        limited_by="round trips of the transaction, and its sync",
    ),
    Row(
        "enqueue_start",
        "enqueue to start, p50",
        "Enqueue to start, idle, p50",
        2.0,
        3.0,
        limited_by="two commits (enqueue, claim), NOTIFY between them",
    ),
    Row(
        "enqueue_start",
        "enqueue to start, p99",
        "Enqueue to start, idle, p99",
        3.5,
        limited_by="the slowest sync of the two",
    ),
    Row(
        "poll_only",
        "enqueue to start, p50",
        "Enqueue to start without NOTIFY, p50",
        250,
        limited_by="half the pause between two looks",
    ),
    Row(
        "poll_only",
        "statements while idle",
        "Statements without NOTIFY, idle",
        4.0,
        limited_by="the pause between two looks",
    ),
    Row("waiting_jobs", "1,000 jobs x 8 x 0.5 s", "1,000 jobs x 8 steps x 0.5 s (ideal 4 s)"),
    Row(
        "waiting_jobs",
        "5,000 jobs x 8 x 0.5 s",
        "5,000 jobs x 8 steps x 0.5 s (ideal 4 s)",
        4.4,
        5.0,
        limited_by="eight waves of timers that all fall due at once",
    ),
    Row(
        "waiting_jobs",
        "10,000 jobs x 8 x 0.5 s",
        "10,000 jobs x 8 steps x 0.5 s (ideal 4 s)",
        5.0,
        limited_by="eight waves of timers that all fall due at once",
    ),
    Row(
        "waiting_jobs",
        "5,000 jobs, peak memory",
        "Peak memory, 5,000 waiting jobs",
        100,
        limited_by="the interpreter and its modules, then the tasks",
    ),
    Row(
        "waiting_jobs",
        "10,000 jobs, peak memory",
        "Peak memory, 10,000 waiting jobs",
        130,
        limited_by="the interpreter and its modules, then the tasks",
    ),
    Row("waiting_jobs", "memory of a waiting job", "Memory that a waiting job adds"),
    Row(
        "waiting_memory",
        "memory of 100,000 waiting jobs",
        "Memory that 100,000 jobs add that wait for a signal",
        20,
        limited_by="nothing of them stays in the process",
    ),
    Row(
        "waiting_memory",
        "claim beside them, p50",
        "Claim beside them, p50",
        _WITHIN_5,
        of_ratio=True,
    ),
    Row(
        "waiting_memory",
        "claim beside them, p99",
        "Claim beside them, p99",
        _WITHIN_25,
        of_ratio=True,
    ),
    Row(
        "recovery",
        "jobs run on, median",
        "After kill -9 jobs run on elsewhere, median",
        1.5,
        limited_by="the grace that a lost connection gets to come back",
    ),
    Row(
        "recovery",
        "jobs run on, last",
        "After kill -9 jobs run on elsewhere, last",
        3.0,
        limited_by="the same: one statement takes all of them",
    ),
    Row(
        "idle",
        "statements",
        "Statements, idle process",
        0.4,
        limited_by="beats, looks for deadlines, pings of the presence",
    ),
    Row(
        "idle",
        "processor time of the process",
        "Processor time, idle process",
        0.5,
        limited_by="timers of the loop",
    ),
    Row(
        "idle",
        "resident memory, engine alone",
        "Memory, idle, the engine alone",
        60,
        limited_by="the interpreter and its modules",
    ),
    Row(
        "idle",
        "resident memory, rkyc serve",
        "Memory, idle `rkyc serve`",
        limited_by="the modules of the web app and of the built-in pipelines",
    ),
    Row(
        "startup",
        "ready, private Postgres runs",
        "Start to ready, private Postgres runs",
        1.0,
        limited_by="imports",
    ),
    Row(
        "startup",
        "ready, private Postgres to be started",
        "Start to ready, private Postgres to be started",
        limited_by="imports, then the start of Postgres",
    ),
    Row("startup", "ready, engine alone", "Start to ready, the engine alone"),
    Row("startup", "rkyc --help", "`rkyc --help`", 0.3, limited_by="the interpreter, then imports"),
    Row(
        "growth",
        "two processes",
        "I/O steps of 50 ms, two processes beside one",
        1.9,
        of_ratio=True,
        limited_by="the slots, until the processors are full",
    ),
    Row(
        "growth",
        "four processes",
        "I/O steps of 50 ms, four processes beside one",
        3.6,
        of_ratio=True,
        limited_by="the slots, until the processors are full",
    ),
    Row("history", "claim, p50", "Claim behind finished and scheduled jobs, p50", _WITHIN_5, of_ratio=True),
    Row("history", "claim, p99", "Claim behind finished and scheduled jobs, p99", _WITHIN_25, of_ratio=True),
    Row("history", "claim, pages", "Pages that this claim reads", 1.0, of_ratio=True),
    Row("history", "noop, full", "No-op jobs behind finished ones"),
    Row(
        "history", "noop, planned on empty tables", "No-op jobs, planned on empty tables", 0.95, of_ratio=True
    ),
    Row("history", "eight, full", "Jobs of 8 steps behind finished ones"),
    Row(
        "history",
        "eight, planned on empty tables",
        "Jobs of 8 steps, planned on empty tables",
        0.95,
        of_ratio=True,
    ),
    Row("pinned", "pinned snapshot", "No-op jobs under a pinned snapshot", 0.95, of_ratio=True),
    Row("pinned", "pinned snapshot, claim p99", "Claim under a pinned snapshot, p99", 0.5, of_ratio=True),
    Row("pinned", "late job starts", "A job committed late starts after", 1_000),
    Row("pinned", "2,000 late jobs start", "2,000 jobs committed late start within", 100),
    Row(
        "sse_fanout",
        "chunk to client, p50",
        "A chunk to 5,000 listening clients, p50",
        20,
        limited_by="one event loop writes to all of them",
    ),
    Row("sse_fanout", "chunk to client, p99", "A chunk to 5,000 listening clients, p99"),
)


def rows_of(case: str) -> Iterable[Row]:
    """Return the rows of a case, in the table's order."""
    return (row for row in ROWS if row.case == case)
