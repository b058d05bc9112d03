"""A rival's script as a process: it is started, waits at a gate, is asked for an answer, and killed.

The words are those of `workers/protocol.py`. A rival that ends early or never answers is an error that
shows the end of what it wrote to stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers.errors import RivalError
from bench.peers.rival import Rival
from bench.peers.stores import OpenStore

# Seconds for a script to import its rival and connect.
_READY_PATIENCE_S = 60.0
# Between two looks, in seconds; what is looked at is cheap.
_LOOK_S = 0.002
_LOG_TAIL_BYTES = 600


@dataclass(frozen=True, slots=True)
class RivalProcess:
    """A running script of a rival, with all processes that it started."""

    process: asyncio.subprocess.Process
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    async def expect_ready(self) -> None:
        """Wait until it stands at its gate."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(_READY_PATIENCE_S):
                line = await self.process.stdout.readline()
        except TimeoutError:
            raise self._error(f"was not ready within {_READY_PATIENCE_S:g} s") from None
        if line.decode().strip() != "ready":
            raise self._error("ended before it was ready")

    def open_gate(self) -> None:
        """Let it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")

    async def read_answer(self, patience_s: float) -> dict[str, Any]:
        """Wait until it ends, and return the JSON it wrote."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(patience_s):
                answer = await self.process.stdout.read()
                code = await self.process.wait()
        except TimeoutError:
            raise self._error(f"gave no answer within {patience_s:g} s") from None
        if code:
            raise self._error(f"ended with {code}")
        parsed: dict[str, Any] = json.loads(answer)
        return parsed

    async def wait_until(self, is_met: Callable[[], bool], *, what: str, patience_s: float) -> None:
        """Look every 2 ms until it is so.

        Raises:
            RivalError: it ended meanwhile, or took too long.
        """
        await self._wait(is_met, None, what, patience_s)

    async def wait_for_store(self, store: OpenStore, patience_s: float) -> None:
        """Ask the store until it says that every job is finished."""
        await self._wait(None, store.is_drained, "every job finished", patience_s)

    async def kill(self) -> None:
        """End it and its children as a crash would."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            await self.process.wait()

    async def _wait(
        self,
        is_met: Callable[[], bool] | None,
        is_true: Callable[[], Awaitable[bool]] | None,
        what: str,
        patience_s: float,
    ) -> None:
        try:
            async with asyncio.timeout(patience_s):
                while not (is_met() if is_met else is_true is not None and await is_true()):
                    if self.process.returncode is not None:
                        raise self._error(f"ended while waited for: {what}")
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise self._error(f"after {patience_s:g} s still not so: {what}") from None

    def _error(self, what: str) -> RivalError:
        said = self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
        return RivalError(f"{self.log.stem} {what}" + (f"; it said: {said}" if said else ""))


@dataclass(frozen=True, slots=True)
class Installed:
    """A rival with its environment."""

    rival: Rival
    folder: Path

    @contextlib.asynccontextmanager
    async def start(self, role: str, url: str, **options: object) -> AsyncIterator[RivalProcess]:
        """Start the rival's script in a role, and kill it at the end of the block."""
        command, folder = self.rival.packages.command(self.folder, self.rival.worker)
        pairs = {"url": url, **options}
        words = [str(word) for name, value in pairs.items() for word in (f"--{name}", value)]
        # Nothing of the environment may steer what is measured.
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("RKYC_", "PG", "PYTHON"))}
        log = self.folder / f"{role}.log"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *command, role, *words, cwd=folder, env=environ, stdin=PIPE, stdout=PIPE, stderr=errors,
                start_new_session=True,
            )  # fmt: skip
        started = RivalProcess(process, log)
        try:
            yield started
        finally:
            await started.kill()

    async def ask(self, role: str, url: str, *, patience_s: float, **options: object) -> dict[str, Any]:
        """Run the rival's script in a role to its end, and return its answer."""
        async with self.start(role, url, **options) as process:
            return await process.read_answer(patience_s)
