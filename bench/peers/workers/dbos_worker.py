"""DBOS, over SQLAlchemy and psycopg: durable steps of async workflows in a queue that it polls."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSClient, EnqueueOptions

from bench.peers.workers import protocol

_QUEUE = "bench"
_POLL_S = 0.05
_CONNECTIONS = 20
_INSERT_ROWS = 500
_OPTIONS: EnqueueOptions = {"queue_name": _QUEUE, "workflow_name": "job"}


class ClientSender:
    """Enqueues workflows; many share a transaction."""

    def __init__(self, client: DBOSClient, engine: sqlalchemy.Engine) -> None:
        self._client = client
        self._engine = engine

    async def send(self, n: int) -> None:
        self._client.enqueue(_OPTIONS, n)

    async def send_many(self, numbers: range) -> None:
        for start in range(0, len(numbers), _INSERT_ROWS):
            with self._engine.begin() as conn:
                for n in numbers[start : start + _INSERT_ROWS]:
                    self._client.enqueue_in_transaction(conn, _OPTIONS, n)


async def prepare(url: str) -> None:
    _launch(url, None)
    DBOS.destroy()


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[ClientSender]:
    client, engine = DBOSClient(system_database_url=_dialect(url)), sqlalchemy.create_engine(_dialect(url))
    try:
        yield ClientSender(client, engine)
    finally:
        client.destroy()
        engine.dispose()


def work(worker: protocol.Worker) -> None:
    worker.wait_at_gate()
    _launch(worker.url, worker.bodies)
    DBOS.register_queue(
        _QUEUE, worker_concurrency=worker.slots, polling_interval_sec=_POLL_S, on_conflict="always_update"
    )
    while True:
        time.sleep(60)


def _launch(url: str, bodies: protocol.Bodies | None) -> None:
    """Register the workflow and start; a process that is restarted under the same name takes up its jobs."""
    DBOS(
        config={
            "name": "bench",
            "system_database_url": _dialect(url),
            "sys_db_pool_size": _CONNECTIONS,
            "log_level": "ERROR",
            "application_version": "1",
        }
    )

    @DBOS.step(name="step")
    async def run_step(n: int, step: int) -> dict[str, Any]:
        assert bodies is not None
        return await bodies.run_step(n, step)

    @DBOS.workflow(name="job")
    async def job(n: int) -> Any:
        assert bodies is not None
        result = None
        for step in range(bodies.steps):
            result = await run_step(n, step)
        return result

    DBOS.launch()


def _dialect(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


if __name__ == "__main__":
    protocol.run(prepare=prepare, connect=connect, work=work)
