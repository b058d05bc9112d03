"""A second process that uses an embedded server: run as a script, driven by `spawn_user`.

It starts or adopts the server, prints one JSON line, and waits. A line on its stdin makes it leave by
`stop_embedded`; kill it for the other kind of end. With a uid it becomes that user after its
imports, since the interpreter of root may lie where others can't read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rkyc.errors import EmbeddedError
from rkyc.store.embedded import start_embedded, stop_embedded
from rkyc.store.server_account import Account
from rkyc.store.server_binaries import copy_binaries, find_binaries

ORDINARY_UID = 65534


@dataclass(frozen=True, slots=True)
class User:
    """A live child and what it reported: pid, dsn, ms — or error."""

    process: asyncio.subprocess.Process
    report: dict[str, Any]

    async def leave(self) -> bool:
        """Make it leave cleanly and return whether that stopped the server."""
        out, _ = await self.process.communicate(b"leave\n")
        return bool(json.loads(out)["stopped"])

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@contextlib.asynccontextmanager
async def spawn_user(
    data_dir: Path, *, uid: int | None = None, environment: Mapping[str, str] | None = None
) -> AsyncIterator[User]:
    """Run a child on the server of `data_dir`; yield it once it has reported; kill it in the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, str(data_dir), str(uid if uid is not None else "")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})},
    )
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        yield User(process, json.loads(line))
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _become(uid: int, folder: Path) -> None:
    """Switch the user for good, with the programs of Postgres where that user can reach them."""
    binaries = find_binaries()
    if not Account(uid=uid, gid=uid).reaches(binaries / "postgres"):
        sys.path.insert(0, str(copy_binaries(binaries, folder).parents[2]))
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


async def _use(data_dir: Path) -> None:
    began = time.perf_counter()
    try:
        server = await start_embedded(data_dir, settings={"shared_buffers": "32MB"})
    except EmbeddedError as error:
        print(json.dumps({"error": error.message}), flush=True)
        return
    spent_ms = (time.perf_counter() - began) * 1000
    print(json.dumps({"pid": server.pid, "dsn": server.dsn, "ms": spent_ms}), flush=True)
    # A read in a thread would keep the process from ending on Ctrl-C.
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    await commands.readline()
    transport.close()
    print(json.dumps({"stopped": await stop_embedded(data_dir)}), flush=True)


def main() -> None:
    folder, uid = Path(sys.argv[1]), sys.argv[2]
    if uid:
        asyncio.run(asyncio.to_thread(str))  # loads what the loop imports late
        _become(int(uid), folder.parent)
    asyncio.run(_use(folder))


if __name__ == "__main__":
    main()
