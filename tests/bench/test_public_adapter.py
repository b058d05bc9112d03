"""The adapter of the public benchmark speaks its contract: lines in, lines out, and an end in time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.public.contract import MANIFEST, Orders
from bench.public.ledger import Ledger
from rkyc.store.pool import Pool
from tests.support.engine import wait_for

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

ROOT = Path(__file__).parents[2]
# What CONTRIBUTING_ADAPTERS.md of the public benchmark requires of every sample round.
REQUIRED = {"claim_p50_ms", "claim_p95_ms", "claim_p99_ms", "enqueue_rate", "completion_rate", "queue_depth"}
COMPLETED = "SELECT count(*) FROM rkyc.history WHERE state = 'completed'"


class Adapter:
    """The adapter as a process, and the lines it wrote so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.records: list[dict[str, Any]] = []

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.records.append(json.loads(line))

    def ask(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())

    async def wait_for_descriptor(self) -> dict[str, Any]:
        async def find() -> list[dict[str, Any]]:
            return self.records

        return (await wait_for(find, timeout_s=20, what="a descriptor"))[0]

    async def wait_for_samples(self, metrics: set[str]) -> None:
        async def are_there() -> bool:
            return metrics <= {record.get("metric") for record in self.records}

        await wait_for(are_there, timeout_s=20, what="all samples")

    async def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


@asynccontextmanager
async def adapter(dsn: str, **variables: str) -> AsyncIterator[Adapter]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.public.adapter",
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": dsn, "SAMPLE_EVERY_S": "1", **variables},
        stdin=PIPE,
        stdout=PIPE,
    )
    started = Adapter(process)
    listening = asyncio.create_task(started.listen())
    try:
        yield started
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening


async def wait_for_completed(pool: Pool, jobs: int) -> None:
    async def are_done() -> bool:
        async with pool.connection() as conn:
            return int(await conn.fetchval(COMPLETED)) >= jobs

    await wait_for(are_done, timeout_s=20, what=f"{jobs} jobs done")


async def test_tokens_become_jobs_and_samples(pool: Pool, dsn: str, tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger", replicas=1, jobs=1000)
    async with adapter(dsn, PRODUCER_PACING="harness", RKYC_BENCH_LEDGER=str(ledger.path)) as started:
        await started.wait_for_descriptor()
        started.ask("ENQUEUE 30\nENQUEUE 5\nENQ")
        started.ask("UEUE 7\n")
        await wait_for_completed(pool, 42)
        await started.wait_for_samples(REQUIRED | {"end_to_end_p99_ms"})
        assert await started.end() == 0
    entries = list(ledger.entries())
    assert [(entry.number, entry.is_acknowledged, entry.ended) for entry in entries] == [
        (number, True, 1) for number in range(42)
    ]
    assert all(0 < entry.start_ms <= entry.end_ms for entry in entries)


async def test_descriptor_holds_what_the_manifest_declares(dsn: str) -> None:
    async with adapter(dsn, PRODUCER_PACING="harness", BENCH_INSTANCE_ID="1") as started:
        descriptor = await started.wait_for_descriptor()
    assert descriptor["kind"] == "descriptor"
    assert descriptor["instance_id"] == 1
    assert descriptor["event_tables"] == MANIFEST["event_tables"]
    assert descriptor["extensions"] == MANIFEST["extensions"]


async def test_declared_tables_and_indexes_exist(pool: Pool) -> None:
    async with pool.connection() as conn:
        for name in MANIFEST["event_tables"] + MANIFEST["event_indexes"]:
            assert await conn.fetchval("SELECT to_regclass($1) IS NOT NULL", name), name


@pytest.mark.parametrize("mode", ["fixed", "depth-target"])
async def test_it_paces_itself_when_nobody_else_does(mode: str, pool: Pool, dsn: str, tmp_path: Path) -> None:
    rate = tmp_path / "rate"
    rate.write_text("200")
    variables = {"PRODUCER_MODE": mode, "TARGET_DEPTH": "50", "PRODUCER_RATE_CONTROL_FILE": str(rate)}
    async with adapter(dsn, **variables) as started:
        await wait_for_completed(pool, 10)
        assert await started.end() == 0


async def test_migrate_only_ends_by_itself(empty_dsn: str) -> None:
    async with adapter(empty_dsn, SCENARIO="migrate_only") as started:
        assert await started.process.wait() == 0


def test_variables_that_are_not_set_have_the_defaults_of_the_contract() -> None:
    orders = Orders.read({"DATABASE_URL": "postgresql://somewhere/x"})
    assert (orders.workers, orders.producer_rate, orders.work_ms, orders.sample_every_s) == (32, 800, 1, 5)
    assert orders.is_producer and orders.is_observer and not orders.is_paced_by_harness
    second = Orders.read(
        {
            "DATABASE_URL": "postgresql://somewhere/x",
            "BENCH_INSTANCE_ID": "1",
            "PRODUCER_ONLY_INSTANCE_ZERO": "1",
        }
    )
    assert not second.is_producer and not second.is_observer
