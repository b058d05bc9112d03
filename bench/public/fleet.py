"""The replicas of the adapter: started, paced, listened to and killed as the public benchmark does it.

Each gets its tokens on stdin every 25 ms and answers with JSON lines, of which each sample is kept with
the phase it came in. A replica that ends without having been killed ends the case.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent.parent
_TICK_S = 0.025
_BATCH_MAX = 128
# Seconds for a replica to migrate and say what it is, and to end.
_START_PATIENCE_S = 60.0
_END_PATIENCE_S = 10.0


class ReplicaEndedError(Exception):
    """A replica ended by itself; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value, in the phase in which it came; `tick` numbers the period, the same for all replicas."""

    phase: str
    tick: int
    instance: int
    metric: str
    value: float
    subject: str = ""


@dataclass(slots=True)
class _Replica:
    process: asyncio.subprocess.Process
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Fleet:
    """Replicas of one case; `rate` is what each is asked to enqueue in a second, `phase` labels what comes."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        replicas: int,
        rate: float,
        is_paced: bool,
        period_s: float,
        folder: Path,
    ) -> None:
        # Nothing of this environment may steer what is measured.
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("RKYC_", "PG", "PYTHON"))}
        self._rate_file = folder / "producer_rate.txt"
        self._log = folder / "replicas.log"
        self._environ = {**clean, **environ, "PRODUCER_RATE_CONTROL_FILE": str(self._rate_file)}
        self._count = replicas
        self._is_paced = is_paced
        self._period_s = period_s
        self._replicas: dict[int, _Replica] = {}
        self.ask(rate)
        self.phase = ""
        self.samples: list[Sample] = []

    async def start_all(self) -> None:
        """Start every replica, one after the other."""
        for instance in range(self._count):
            await self.start(instance)

    async def start(self, instance: int) -> None:
        """Start one and wait until it has said what it is.

        Raises:
            ReplicaEndedError
        """
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "bench.public.adapter",
                cwd=_ROOT,
                env={**self._environ, "BENCH_INSTANCE_ID": str(instance)},
                stdin=PIPE if self._is_paced else DEVNULL,
                stdout=PIPE,
                stderr=log,
            )
        replica = self._replicas[instance] = _Replica(process)
        described = asyncio.Event()
        replica.tasks.append(asyncio.create_task(self._listen(process, instance, described)))
        ended = asyncio.create_task(process.wait())
        saying = asyncio.create_task(described.wait())
        try:
            async with asyncio.timeout(_START_PATIENCE_S):
                await asyncio.wait([ended, saying], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            saying.cancel()
        self.check()
        if self._is_paced:
            replica.tasks.append(asyncio.create_task(self._pace(process)))

    async def kill(self, instance: int) -> None:
        """End one as a crash would."""
        replica = self._replicas.pop(instance)
        replica.process.kill()
        await replica.process.wait()
        await self._forget(replica)

    def ask(self, rate: float) -> None:
        """Let each replica enqueue so many jobs in a second from now on; one that holds a depth: 0 is none."""
        self.rate = rate
        self._rate_file.write_text(f"{rate:g}", encoding="utf-8")

    def check(self) -> None:
        """Look whether all that should run do.

        Raises:
            ReplicaEndedError
        """
        for instance, replica in self._replicas.items():
            if replica.process.returncode is not None:
                tail = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise ReplicaEndedError(f"replica {instance} ended with {replica.process.returncode}\n{tail}")

    async def stop(self) -> float:
        """Let all drain and end; return the seconds that the slowest took, or raise.

        Raises:
            ReplicaEndedError: one did not end by itself, or not with 0.
        """
        began_at = time.monotonic()
        ending = dict(self._replicas)
        for replica in ending.values():
            if replica.process.returncode is None:
                replica.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_END_PATIENCE_S):
                codes = [await replica.process.wait() for replica in ending.values()]
        except TimeoutError:
            raise ReplicaEndedError(f"a replica did not end within {_END_PATIENCE_S:g} s") from None
        took_s = time.monotonic() - began_at
        if any(codes):
            self.check()
        return took_s

    async def close(self) -> None:
        """Leave nothing running."""
        for instance in tuple(self._replicas):
            if self._replicas[instance].process.returncode is None:
                await self.kill(instance)
            else:
                await self._forget(self._replicas.pop(instance))

    async def _forget(self, replica: _Replica) -> None:
        for task in replica.tasks:
            task.cancel()
        await asyncio.gather(*replica.tasks, return_exceptions=True)

    async def _listen(
        self, process: asyncio.subprocess.Process, instance: int, described: asyncio.Event
    ) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            record: dict[str, Any] = json.loads(line)
            if record["kind"] == "descriptor":
                described.set()
            elif record["kind"] == "adapter":
                tick = round(time.time() / self._period_s)
                self.samples.append(
                    Sample(self.phase, tick, instance, record["metric"], float(record["value"]))
                )

    async def _pace(self, process: asyncio.subprocess.Process) -> None:
        """Ask for jobs by the wall: what a late tick missed comes with the next ones."""
        assert process.stdin is not None
        credit, seen_at = 0.0, time.monotonic()
        while process.returncode is None:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            credit += self.rate * (now - seen_at)
            seen_at = now
            if credit >= 1 and not process.stdin.is_closing():
                count = min(int(credit), _BATCH_MAX)
                credit -= count
                process.stdin.write(f"ENQUEUE {count}\n".encode())
