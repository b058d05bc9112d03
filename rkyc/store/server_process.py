"""Which processes belong to a data folder of Postgres.

A pid number in `postmaster.pid` is a rumour: its process may be a zombie, or another program by now.
A process counts when it lives and works in the data folder. Backends outlive a killed postmaster
for a while and must be gone before another one starts. Where there is no /proc, Postgres's own
check of the shared memory stands guard alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

_PROC = Path("/proc")
# Postmasters that this process started: only these may be reaped here.
_CHILDREN: set[int] = set()
# Seconds that an orphaned backend gets after SIGQUIT.
_ORPHAN_GRACE_S = 3.0


def adopt_child(pid: int) -> None:
    """Remember a postmaster that this process started, so that it is reaped when it dies."""
    _CHILDREN.add(pid)


def is_running(pid: int) -> bool:
    """Whether the process lives; a zombie does not."""
    for child in tuple(_CHILDREN):
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(child, os.WNOHANG)[0] == 0:
                continue
        _CHILDREN.discard(child)
    if not _PROC.is_dir():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
    return _state(pid)[1] not in ("", "Z", "X")


async def wait_for_end(pid: int) -> None:
    """Return when the process, which need not be our child, lives no more."""
    pause_s = 0.005
    while is_running(pid):
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.1)


def read_pid(data: Path) -> int | None:
    """Return the pid in `postmaster.pid`, whatever it is worth."""
    try:
        return int((data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def running_postmaster(data: Path) -> int | None:
    """Return the pid of the live postmaster of this data folder, or None."""
    pid = read_pid(data)
    if pid is None or pid == os.getpid() or not is_running(pid) or not _works_in(pid, data):
        return None
    return pid


async def end_orphans(data: Path) -> None:
    """End the backends that outlived their postmaster; on return none is left that can be seen.

    They hold no promise any more: what they committed is in the log, the rest rolls back.
    """
    deadline = asyncio.get_running_loop().time() + _ORPHAN_GRACE_S
    number = signal.SIGQUIT
    while orphans := await asyncio.to_thread(_processes_in, data):
        if asyncio.get_running_loop().time() > deadline:
            number = signal.SIGKILL
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        await asyncio.sleep(0.05)


def disown_pid_file(data: Path) -> None:
    """Make a stale `postmaster.pid` harmless: our own pid goes in, which a child of ours ignores.

    The file is not removed: it names the shared memory by which Postgres notices backends that
    we could not see.
    """
    path = data / "postmaster.pid"
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except FileNotFoundError:
        return
    if len(lines) < 2:
        path.unlink()  # torn while it was written: Postgres would refuse it
        return
    lines[0] = str(os.getpid())
    path.write_text("\n".join(lines), encoding="utf-8", errors="surrogateescape")


def _processes_in(data: Path) -> list[int]:
    if not _PROC.is_dir():
        return []
    pids = (int(entry) for entry in os.listdir(_PROC) if entry.isdigit())
    return [
        pid for pid in pids if pid != os.getpid() and _state(pid)[0] == "postgres" and _works_in(pid, data)
    ]


def _works_in(pid: int, data: Path) -> bool:
    """Whether the process is a Postgres whose working folder is the data folder."""
    if not _PROC.is_dir():
        return True
    name, state = _state(pid)
    if name != "postgres" or state in ("Z", "X"):
        return False
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/cwd"), data.stat())
    except PermissionError:
        # Root without CAP_SYS_PTRACE (a container) may not look; the postmaster's command line is open to all.
        with contextlib.suppress(OSError):
            return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return False
    except OSError:
        return False


def _state(pid: int) -> tuple[str, str]:
    """Return name and state letter of a process; empty when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", ""
    name, rest = text[text.index("(") + 1 :].rsplit(")", 1)
    return name, rest.split()[0]
