"""This program started again: the processes set aside for suspects, and the workers of the demo.

A suspect is a task that was seen in two crashes. It runs alone in a child of `serve`, so that it takes
nobody along when it crashes again. A child ends by itself when no suspect is left, and with its parent.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from rkyc.engine.worker import Worker
from rkyc.errors import DatabaseConnectionError
from rkyc.store.pool import Pool
from rkyc.store.queue.overview import find_suspects

_ALIVE_MAX = 2
# Seconds without a suspect until a child ends: longer than a reclaim takes, so that one child serves several.
_IDLE_S = 2.0
_LOOK_S = 0.25
# Seconds that children get to end, beyond their own grace.
_END_S = 5.0
# Source: prctl(2), PR_SET_PDEATHSIG.
_PR_SET_PDEATHSIG = 1


def own_command(*arguments: str) -> list[str]:
    """Return the command that starts this program again, from its source or as one file."""
    if getattr(sys, "frozen", False):
        return [sys.executable, *arguments]
    return [sys.executable, "-m", "rkyc", *arguments]


class SuspectProcesses:
    """The children of one `serve` that run suspects; `arguments` are those of its own command line.

    The DSN goes by the environment: a command line is seen by everyone on the machine.
    """

    def __init__(self, arguments: Sequence[str], *, dsn: str | None, grace_s: float) -> None:
        self._command = own_command("serve", "--suspects", str(os.getpid()), *arguments)
        self._dsn = dsn
        self._grace_s = grace_s
        self._alive: list[subprocess.Popen[bytes]] = []
        self._is_closed = False

    def start_one(self) -> None:
        """Start a child, unless enough are alive; called again for as long as suspects wait."""
        self._alive = [child for child in self._alive if child.poll() is None]
        if len(self._alive) >= _ALIVE_MAX or self._is_closed:
            return
        environment = {**os.environ, **({"RKYC_DSN": self._dsn} if self._dsn else {})}
        child = subprocess.Popen(
            self._command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        self._alive.append(child)

    def stop(self) -> None:
        """Ask the children to drain; no further one is started."""
        self._is_closed = True
        for child in self._alive:
            if child.poll() is None:
                child.terminate()

    async def close(self) -> None:
        """Wait for the children to end, and kill those that do not."""
        self.stop()
        deadline = time.monotonic() + self._grace_s + _END_S
        for child in self._alive:
            await asyncio.to_thread(_wait_or_kill, child, deadline)


def _wait_or_kill(child: subprocess.Popen[bytes], deadline: float) -> None:
    try:
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def end_with_parent() -> None:
    """Let the kernel end this process by SIGTERM when its parent dies, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def wait_until_unneeded(pool: Pool, worker: Worker, parent_pid: int) -> None:
    """Return when no suspect has waited or run here for a while, or when the parent is gone."""
    idle_since = time.monotonic()
    while time.monotonic() - idle_since < _IDLE_S and os.getppid() == parent_pid:
        try:
            async with pool.connection() as conn:
                is_needed = worker.busy > 0 or await find_suspects(conn, worker.wake_keys, worker.lanes)
        except DatabaseConnectionError:
            is_needed = True
        if is_needed:
            idle_since = time.monotonic()
        await asyncio.sleep(_LOOK_S)
