"""Real `rkyc serve` processes for crash tests: started, killed, stopped, restarted, gone at the end.

`Fleet` holds them; each writes its log to a file that a failed test can read. Options in lower case
are those of the command line, options in capitals are settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
APP = "tests.support.probes:registry"
# Unlike in production, nobody waits for tens of seconds; who is dead is judged as in production.
FAST = {"BEAT_S": 1.0, "POLL_S": 1.0, "FROZEN_AFTER_S": 60.0}


@dataclass(slots=True)
class WorkerProcess:
    """One process; `report` is its first line."""

    process: asyncio.subprocess.Process
    log: Path
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None

    async def kill(self) -> None:
        """End it as the OOM killer would."""
        self.send(signal.SIGKILL)
        await self.process.wait()

    async def drain(self) -> int:
        """Ask it to end and return its exit code."""
        self.send(signal.SIGTERM)
        return await self.process.wait()

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """Return its log's lines of one event."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line["event"] == event]


class Fleet:
    """The worker processes of one test."""

    def __init__(
        self, folder: Path, *, app: str = APP, dsn: str | None = None, data_dir: Path | None = None
    ) -> None:
        self._folder = folder
        self._app = app
        self._dsn = dsn
        self._data_dir = data_dir
        self._started = 0
        self._keepers: list[asyncio.Task[None]] = []
        self.members: list[WorkerProcess] = []

    async def start(self, **options: Any) -> WorkerProcess:
        """Start one more and wait until it serves: `slots=30` is `--slots 30`, `POLL_S=1` is `RKYC_POLL_S=1`."""
        command = [sys.executable, "-m", "rkyc", "serve", "--no-api", "--only-app", "--app", self._app]
        if self._dsn is not None:
            command += ["--dsn", self._dsn]
        settings = {**FAST, **{name: value for name, value in options.items() if name.isupper()}}
        for name, value in options.items():
            if name.islower():
                command += [f"--{name}", str(value)]
        self._started += 1
        log = self._folder / f"worker-{self._started}.log"
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "RKYC_LOG_FORMAT": "json"}
        environ |= {f"RKYC_{name}": str(value) for name, value in settings.items()}
        if self._data_dir is not None:
            environ["RKYC_DATA_DIR"] = str(self._data_dir)
        with log.open("ab") as sink:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=sink
            )
        member = WorkerProcess(process, log)
        self.members.append(member)
        assert process.stdout is not None
        line = await process.stdout.readline()
        assert line, f"the worker ended at its start:\n{log.read_text()[-4000:]}"
        member.report = json.loads(line)
        return member

    async def keep_running(self, number: int, **options: Any) -> None:
        """Keep so many running: whoever ends is started again, as a service manager would."""

        async def keep(member: WorkerProcess) -> None:
            while True:
                await member.process.wait()
                member = await self.start(**options)

        for member in [await self.start(**options) for _ in range(number)]:
            self._keepers.append(asyncio.create_task(keep(member)))

    def pick(self) -> WorkerProcess:
        """Return the youngest member that serves."""
        return next(member for member in reversed(self.members) if member.is_alive and member.report)

    async def stop(self) -> None:
        """Kill all of them and what they set aside."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for member in self.members:
            if member.is_alive:
                member.send(signal.SIGCONT)
                await member.kill()


@contextlib.asynccontextmanager
async def open_fleet(folder: Path, **options: Any) -> AsyncIterator[Fleet]:
    """Make a fleet and end it with the block."""
    fleet = Fleet(folder, **options)
    try:
        yield fleet
    finally:
        await fleet.stop()
