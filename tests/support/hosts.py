"""Machines for acceptance tests: each with a home, a working folder and a data folder of its own.

What runs on a `Host` is the real program, `python -m rkyc …`, with nothing in its environment but what
the host was given. `Server` is a `rkyc serve` that can be killed. All of them end with `open_hosts`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Folders that a process needs whoever it is: programs, libraries, temporary files.
_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self
        return json.loads(self.out)


@dataclass(slots=True)
class Server:
    """A running `rkyc serve`; `ready` is its first line."""

    process: asyncio.subprocess.Process
    log: Path
    ready: dict[str, Any] = field(default_factory=dict)

    @property
    def worker(self) -> str:
        """The name under which the views know it."""
        return str(self.ready["worker"])

    @property
    def url(self) -> str:
        return str(self.ready["url"])

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None

    async def kill(self) -> None:
        """End it as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """Ask it to drain and return its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()

    def told(self) -> str:
        """Return what it has logged."""
        return self.log.read_text("utf-8", errors="replace")


@dataclass(slots=True)
class Host:
    """One machine."""

    folder: Path
    variables: Mapping[str, str]
    servers: list[Server] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def environ(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        own = {"HOME": str(self.folder / "home"), "RKYC_DATA_DIR": str(self.folder / "data")}
        return {**inherited, **own, **self.variables}

    @property
    def cwd(self) -> Path:
        return self.folder / "work"

    async def run(self, *arguments: str | Path, **variables: str) -> Done:
        """Run one command to its end."""
        process = await asyncio.create_subprocess_exec(
            *_command(arguments),
            cwd=self.cwd,
            env=self.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            out, err = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            raise
        assert process.returncode is not None
        return Done(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))

    async def serve(self, *options: str, **variables: str) -> Server:
        """Start a server and wait until it is ready."""
        log = self.folder / f"serve-{next(self._numbers)}.log"
        with log.open("wb") as sink:
            process = await asyncio.create_subprocess_exec(
                *_command(("serve", *options)),
                cwd=self.cwd,
                env=self.environ | variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
            )
        server = Server(process, log)
        self.servers.append(server)
        assert process.stdout is not None
        line = await process.stdout.readline()
        assert line, f"serve ended at its start:\n{server.told()[-4000:]}"
        server.ready = json.loads(line)
        return server


@contextlib.asynccontextmanager
async def open_hosts(folder: Path, *environs: Mapping[str, str]) -> AsyncIterator[list[Host]]:
    """Make a host for each environment; with the block their servers end."""
    hosts = [Host(folder / f"host-{number}", variables) for number, variables in enumerate(environs)]
    for host in hosts:
        for part in ("home", "work", "data"):
            (host.folder / part).mkdir(parents=True)
    try:
        yield hosts
    finally:
        for server in [server for host in hosts for server in host.servers]:
            await server.kill()


def _command(arguments: tuple[str | Path, ...]) -> list[str]:
    return [sys.executable, "-m", "rkyc", *map(str, arguments)]
