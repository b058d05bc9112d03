"""Celery on Redis: one worker of the prefork pool, results ignored, acknowledged early (its default)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from billiard import current_process
from celery import Celery, signals

from bench.marks import Marks
from bench.peers.workers import protocol

# Messages that wait in each child; with the default of 4 a child would wait for Redis after each few.
_PREFETCH = 100


class DelaySender:
    """Sends the task; the client has no bulk call, and it blocks."""

    def __init__(self, task: Any) -> None:
        self._task = task

    async def send(self, n: int) -> None:
        self._task.delay(n)

    async def send_many(self, numbers: range) -> None:
        for n in numbers:
            self._task.delay(n)


async def prepare(url: str) -> None:
    """There is no schema."""


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[DelaySender]:
    _, task = _make(url, {})
    yield DelaySender(task)


def work(worker: protocol.Worker) -> None:
    # Each child writes marks of its own, so that none of them is lost.
    own: dict[str, protocol.Bodies] = {}
    app, _ = _make(worker.url, own)

    @signals.worker_process_init.connect(weak=False)
    def take_marks(**_: object) -> None:
        marks = Marks(worker.marks, process=current_process().index)
        own["bodies"] = protocol.Bodies(worker.kind, marks)

    worker.wait_at_gate()
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
    app.worker_main(["worker", "--pool", "prefork", "--concurrency", str(worker.slots), *quiet])


def _make(url: str, own: dict[str, protocol.Bodies]) -> tuple[Celery, Any]:
    app = Celery("bench", broker=url)
    app.conf.update(
        task_ignore_result=True,
        worker_prefetch_multiplier=_PREFETCH,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
    )

    @app.task(name="job")
    def job(n: int) -> None:
        own["bodies"].begin(n, 0)

    return app, job


if __name__ == "__main__":
    protocol.run(prepare=prepare, connect=connect, work=work)
