"""One case from start to end: a fresh database, replicas, phases with their faults, and what became of it all."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bench.harness import Connection
from bench.machine import describe_commit, describe_machine
from bench.public.contract import choose_prefetch
from bench.public.faults import FAULTS, Stage
from bench.public.findings import (
    Span,
    collect_latencies,
    find_longest_gap_s,
    read_fate,
    read_takeovers,
)
from bench.public.fleet import Fleet, ReplicaEndedError
from bench.public.ledger import Ledger
from bench.public.observer import Observer
from bench.public.scenarios import Case, Phase
from bench.public.server import Server
from bench.public.summary import Row, compare_phases, summarize_fate, summarize_phase

# Seconds in which the jobs that are left must be done once nobody enqueues any more.
_DRAIN_PATIENCE_S = 120.0
# The ledger holds so many times the jobs that are asked for, and this many a second where a depth is held.
_ROOM = 2
_PEAK_RATE = 60_000


@dataclass(frozen=True, slots=True)
class Terms:
    """How cases are run: `length` of scenarios.py, seconds between samples, tasks claimed ahead (None: the adapter's way)."""

    length: str
    period_s: float
    window_s: float
    prefetch: int | None = None


async def run_case(case: Case, server: Server, terms: Terms) -> list[Row]:
    """Run a case and return its rows; a replica that ended by itself is a row too."""
    load = os.getloadavg()[0]
    rows = list(_describe_run(case, server, terms, load))
    async with server.database() as dsn:
        folder = server.folder / case.name
        folder.mkdir()
        ledger = Ledger.create(folder / "ledger", replicas=case.replicas, jobs=_room(case))
        fleet = _make_fleet(case, terms, dsn, ledger, folder)
        stage = Stage(dsn, server, fleet)
        observer = Observer(dsn, fleet, period_s=terms.period_s)
        observing = asyncio.create_task(observer.run())
        spans: list[Span] = []
        try:
            fleet.phase = "start"
            await fleet.start_all()
            for phase in case.phases:
                spans.append(await _run_phase(phase, stage))
                await observer.end_phase()
            fleet.phase = "end"
            fleet.ask(0)
            drained_s = await observer.wait_until_idle(_DRAIN_PATIENCE_S)
            ended_s = await fleet.stop()
        except ReplicaEndedError as error:
            print(f"{case.name}: {error}", flush=True)
            return [*rows, Row(case.name, "all", "failed", str(error).splitlines()[0], "")]
        finally:
            observing.cancel()
            await fleet.close()
        rows += [
            Row(case.name, "all", "drain_time", round(drained_s, 3), "s"),
            Row(case.name, "all", "shutdown_time", round(ended_s, 3), "s"),
        ]
        conn = await asyncpg.connect(dsn)
        try:
            rows += await _summarize(case, stage, spans, conn, ledger, period_s=terms.period_s)
        finally:
            await conn.close()
    return rows


async def _run_phase(phase: Phase, stage: Stage) -> Span:
    """Let a phase happen, and look meanwhile whether the replicas live."""
    stage.fleet.phase = phase.label
    since = time.time()
    async with FAULTS[phase.kind](stage, phase):
        loop = asyncio.get_running_loop()
        end_at = loop.time() + phase.seconds
        while (left_s := end_at - loop.time()) > 0:
            await asyncio.sleep(min(0.5, left_s))
            stage.fleet.check()
    return Span(phase.label, since, time.time())


async def _summarize(
    case: Case, stage: Stage, spans: list[Span], conn: Connection, ledger: Ledger, *, period_s: float
) -> list[Row]:
    """Return the rows of the phases and of the whole case."""
    samples = stage.fleet.samples
    latencies = collect_latencies(ledger.entries(), spans)
    rows: list[Row] = []
    for phase in case.phases:
        if phase.kind != "warmup":
            rows += summarize_phase(case, phase, samples, latencies.get(phase.label))
    rows += compare_phases(case, samples, period_s=period_s)
    ends = sorted(entry.ended_at for entry in ledger.entries() if entry.ended)
    # The warm-up begins with an empty queue.
    gap_s = find_longest_gap_s(ends, spans[1].since, spans[-1].until)
    rows.append(Row(case.name, "all", "longest_gap", round(gap_s, 3), "s"))
    rows += [
        Row(case.name, "all", name, round(value, 3), _unit(name)) for name, value in stage.counts.items()
    ]
    if stage.server_back_at is not None:
        back_at = stage.server_back_at
        first_s = next((end - back_at for end in ends if end > back_at), None)
        if first_s is not None:
            rows.append(Row(case.name, "all", "first_end_after_restart", round(first_s, 3), "s"))
    if stage.killed_at:
        tasks, last_s = await read_takeovers(conn, stage.killed_at)
        rows += [
            Row(case.name, "all", "kills", len(stage.killed_at), "kills"),
            Row(case.name, "all", "tasks_taken_over", tasks, "tasks"),
            Row(case.name, "all", "last_taken_over_ended", round(last_s, 3), "s"),
        ]
    return [*rows, *summarize_fate(case, await read_fate(conn, ledger))]


def _describe_run(case: Case, server: Server, terms: Terms, load: float) -> Iterator[Row]:
    machine = describe_machine()
    facts: dict[str, tuple[float | str, str]] = {
        "at": (dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), ""),
        "commit": (describe_commit(), ""),
        "length": (terms.length, ""),
        "workers": (case.workers, "slots"),
        "replicas": (case.replicas, "processes"),
        "offered": (case.rate * case.replicas, "jobs/s")
        if case.depth is None
        else (case.depth, "jobs waiting"),
        "processor": (machine["processor"], ""),
        "processors": (machine["processors"], ""),
        "postgres": (server.postgres["server_version"], ""),
        "load_before": (round(load, 2), ""),
        "prefetch": (_prefetch(case, terms), "tasks"),
    }
    for metric, (value, unit) in facts.items():
        yield Row(case.name, "run", metric, value, unit)


def _make_fleet(case: Case, terms: Terms, dsn: str, ledger: Ledger, folder: Path) -> Fleet:
    environ = {
        "DATABASE_URL": dsn,
        "SCENARIO": "long_horizon",
        "PRODUCER_MODE": "fixed" if case.depth is None else "depth-target",
        "PRODUCER_PACING": "harness",
        "PRODUCER_RATE": f"{case.rate:g}",
        "TARGET_DEPTH": str(case.depth or 0),
        "WORKER_COUNT": str(case.workers),
        "SAMPLE_EVERY_S": f"{terms.period_s:g}",
        "LATENCY_WINDOW_MS": f"{terms.window_s * 1000:g}",
        "RKYC_BENCH_LEDGER": str(ledger.path),
        "RKYC_PREFETCH": str(_prefetch(case, terms)),
    }
    return Fleet(
        environ,
        replicas=case.replicas,
        rate=case.rate,
        is_paced=case.depth is None,
        period_s=terms.period_s,
        folder=folder,
    )


def _prefetch(case: Case, terms: Terms) -> int:
    return choose_prefetch(case.workers) if terms.prefetch is None else terms.prefetch


def _room(case: Case) -> int:
    return int((case.seconds + 60) * (case.rate * _ROOM if case.depth is None else _PEAK_RATE))


def _unit(name: str) -> str:
    return "s" if name.endswith("_s") else "connections"
