"""A worker as a process of its own, without the API: what crash tests start and kill.

`python -m tests.support.worker_process --app MODULE:REGISTRY (--dsn DSN | --data-dir DIR) …` prints one
JSON line when it is ready, drains on SIGTERM, and starts a process set aside for suspects when tasks
ask for one. That process ends by itself once no suspect waits any more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import Any

import uvloop

from rkyc.app import load_registry, open_app
from rkyc.config import load_settings
from rkyc.engine.upkeep import UpkeepOptions
from rkyc.engine.worker import Worker
from rkyc.store.pool import Pool
from rkyc.telemetry.logs import setup_logger

# How long a process set aside waits for another suspect.
IDLE_S = 1.0


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dsn")
    parser.add_argument("--app", required=True)
    parser.add_argument("--slots", type=int, default=200)
    parser.add_argument("--prefetch", type=int, default=0)
    parser.add_argument("--lanes")
    parser.add_argument("--suspects", action="store_true")
    parser.add_argument("--grace", type=float, default=30.0)
    parser.add_argument("--save-limit", type=float, default=5.0)
    parser.add_argument("--beat", type=float, default=1.0)
    parser.add_argument("--poll", type=float, default=1.0)
    parser.add_argument("--absence", type=float, default=0.7)
    parser.add_argument("--frozen-after", type=float, default=60.0)
    parser.add_argument("--restart-grace", type=float, default=12.0)
    return parser.parse_args()


class SetAside:
    """Starts one process for suspects at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        command = [sys.executable, "-m", "tests.support.worker_process", *sys.argv[1:], "--suspects"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


async def end_when_idle(worker: Worker, pool: Pool) -> None:
    """Stop a process set aside when it holds nothing and nothing waits for it."""
    while True:
        await asyncio.sleep(IDLE_S)
        async with pool.connection() as conn:
            waits = await conn.fetchval("SELECT EXISTS (SELECT FROM rkyc.waiting WHERE kind = 'suspect')")
        if not waits and not worker.busy:
            worker.stop()
            return


async def run(given: argparse.Namespace) -> None:
    settings = load_settings(os.environ)
    changes: dict[str, Any] = {
        "slots": given.slots,
        "prefetch": given.prefetch,
        "grace_s": given.grace,
        "save_limit_s": given.save_limit,
        "lanes": tuple(given.lanes.split(",")) if given.lanes else None,
        "for_suspects": given.suspects,
        "upkeep": UpkeepOptions(
            beat_s=given.beat,
            poll_s=given.poll,
            absence_s=given.absence,
            frozen_after_s=given.frozen_after,
            restart_grace_s=given.restart_grace,
        ),
    }
    set_aside = SetAside()
    registry = load_registry([given.app], only_app=True)
    async with open_app(settings, dsn=given.dsn, registry=registry) as app:
        worker = app.make_worker(on_suspects=set_aside.start, **changes)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, worker.stop)
        running = asyncio.create_task(worker.run())
        helper = asyncio.create_task(end_when_idle(worker, app.pool)) if given.suspects else None
        ready = asyncio.create_task(worker.ready.wait())
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        print(
            json.dumps(
                {"event": "ready", "worker": worker.name, "id": worker.worker_id, "dsn": app.pool.dsn}
            ),
            flush=True,
        )
        await running
        if helper is not None:
            helper.cancel()
        ready.cancel()
        set_aside.stop()


def main() -> None:
    setup_logger(level=os.environ.get("LOG_LEVEL", "INFO"), log_format="json")
    uvloop.run(run(read_arguments()))


if __name__ == "__main__":
    main()
