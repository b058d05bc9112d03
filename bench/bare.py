"""The baseline: the least that a durable job table in Postgres can be, as a process of the bench.

One table with a state, claimed by SKIP LOCKED in batches; step outputs and completions of many jobs
in one statement, by one flusher. No lanes, retries, limits, events, names, views, fences or telemetry:
what rkyc does beyond this shows as the distance. The protocol of the process is that of
`worker_process`: says `ready`, begins at a line on stdin, says `serving`, ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import uvloop

from bench.marks import Marks
from bench.pipelines import TEXT
from rkyc.store.statements import load

SQL = load(__file__)
# The same as the product's, so that the distance is not one of tuning.
BATCH_ROWS_MAX = 512
LINGER_S = 0.001

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class BareWorker:
    """Runs tasks of `steps` steps that each wait `pause_s` seconds, at most `slots` at once."""

    def __init__(
        self, claimer: Connection, writer: Connection, marks: Marks, options: argparse.Namespace
    ) -> None:
        self._claimer = claimer
        self._writer = writer
        self._marks = marks
        self._options = options
        self._free = options.slots
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._filled = asyncio.Event()
        self._has_backlog = False
        # (task id, step, output, future); a task's last step finishes it.
        self._queue: list[tuple[int, int, str, asyncio.Future[None]]] = []

    def wake(self, *_: object) -> None:
        self._woken.set()

    async def claim(self) -> None:
        """Claim for the free slots until cancelled."""
        statement = await self._claimer.prepare(SQL["claim_tasks"].text)
        self._woken.set()
        while True:
            await self._woken.wait()
            if self._has_backlog and self._free < self._options.slots // 4:
                await asyncio.sleep(LINGER_S)
            self._woken.clear()
            free = self._free
            if free:
                rows = await statement.fetch(free, self._options.process)
                self._has_backlog = len(rows) == free
                self.start(rows)

    def start(self, rows: list[asyncpg.Record]) -> None:
        for row in rows:
            self._free -= 1
            task = asyncio.create_task(self._run(row["id"], json.loads(row["input"])["n"], row["step"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, task_id: int, n: int, first_step: int) -> None:
        options, marks = self._options, self._marks
        for number in range(first_step, options.steps):
            marks.hit()
            if options.trace:
                marks.mark(n * options.steps + number)
            if options.pause:
                await asyncio.sleep(options.pause)
            future = asyncio.get_running_loop().create_future()
            self._queue.append((task_id, number, json.dumps({"n": n, "text": TEXT}), future))
            self._filled.set()
            await future
        self._free += 1
        if self._has_backlog:
            self._woken.set()

    async def flush(self) -> None:
        """Write until cancelled."""
        save = await self._writer.prepare(SQL["save_outputs"].text)
        finish = await self._writer.prepare(SQL["finish_tasks"].text)
        last = self._options.steps - 1
        while True:
            await self._filled.wait()
            if len(self._queue) < min(len(self._tasks), BATCH_ROWS_MAX):
                await asyncio.sleep(LINGER_S)
            batch, self._queue = self._queue[:BATCH_ROWS_MAX], self._queue[BATCH_ROWS_MAX:]
            if not self._queue:
                self._filled.clear()
            if saved := [row for row in batch if row[1] < last]:
                await save.fetch(
                    [row[0] for row in saved], [row[1] for row in saved], [row[2] for row in saved]
                )
            if ended := [row for row in batch if row[1] == last]:
                await finish.fetch(
                    [row[0] for row in ended], [row[2] for row in ended], self._options.process
                )
            for row in batch:
                row[3].set_result(None)

    async def inherit(self, dead: int, life: Connection) -> None:
        """Wait for another worker's death, which frees its lock, and run its tasks on."""
        await life.fetch(SQL["hold_life"].text, dead)
        self.start(await life.fetch(SQL["inherit_tasks"].text, self._options.process, dead))


async def serve(options: argparse.Namespace) -> None:
    """Connect, wait for the gate, run until SIGTERM."""
    claimer, writer, life = [await asyncpg.connect(options.dsn) for _ in range(3)]
    worker = BareWorker(claimer, writer, Marks(options.marks, process=options.process), options)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    loops: list[asyncio.Task[Any]] = [asyncio.create_task(worker.flush())]
    if options.heir_of is None:
        await life.fetch(SQL["hold_life"].text, options.process)
        await life.add_listener("bare_wake", worker.wake)
        loops.append(asyncio.create_task(worker.claim()))
    else:
        loops.append(asyncio.create_task(worker.inherit(options.heir_of, life)))
    print("serving", flush=True)
    await stopping.wait()
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    for conn in (claimer, writer, life):
        conn.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--marks", type=Path, required=True)
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--slots", type=int, default=200)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--trace", action="store_true", help="mark each body by task and step")
    parser.add_argument("--heir-of", type=int, help="claim nothing; take over from this process when it dies")
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
