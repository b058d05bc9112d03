"""Procrastinate, over psycopg: a fetch and a commit per job, LISTEN/NOTIFY."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import procrastinate
import uvloop

from bench.peers.workers import protocol

_INSERT_ROWS = 1000
_CONNECTIONS_MAX = 20


class TaskSender:
    """Defers the task."""

    def __init__(self, task: Any) -> None:
        self._task = task

    async def send(self, n: int) -> None:
        await self._task.defer_async(n=n)

    async def send_many(self, numbers: range) -> None:
        for start in range(0, len(numbers), _INSERT_ROWS):
            await self._task.batch_defer_async(*({"n": n} for n in numbers[start : start + _INSERT_ROWS]))


async def prepare(url: str) -> None:
    app, _ = _make(url, None)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[TaskSender]:
    app, task = _make(url, None)
    async with app.open_async():
        yield TaskSender(task)


async def work(worker: protocol.Worker) -> None:
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    app, _ = _make(worker.url, worker.bodies)
    async with app.open_async():
        worker.wait_at_gate()
        await app.run_worker_async(concurrency=worker.slots)


def _make(url: str, bodies: protocol.Bodies | None) -> tuple[Any, Any]:
    """Make the app and its task; a producer runs no bodies."""
    connector = procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=_CONNECTIONS_MAX)
    app = procrastinate.App(connector=connector)

    @app.task(name="job", queue="default")
    async def job(n: int) -> None:
        assert bodies is not None
        await bodies.run_job(n)

    return app, job


if __name__ == "__main__":
    protocol.run(prepare=prepare, connect=connect, work=work, runner=uvloop.run)
