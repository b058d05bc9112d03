"""What the machine says: CPU and memory of processes, and what a result must name to be repeated.

Reads /proc, so the bench runs on Linux. Where the server is on another machine its CPU is not known.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_TICKS = os.sysconf("SC_CLK_TCK")
_ROOT = Path(__file__).parent.parent
_SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "wal_level",
    "shared_buffers",
    "wal_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "max_connections",
    "autovacuum",
    "jit",
    "shared_preload_libraries",
)
_BLOCK = bytes(8192)
_SYNCS = 200


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a live process, 0.0 when it is gone."""
    return sum(_times(pid)[:2])


def server_cpu_s(postmaster: int | None) -> float:
    """Return the CPU seconds of all processes of a Postgres server, the ended ones too."""
    if postmaster is None:
        return 0.0
    return sum(_times(postmaster)) + sum(sum(_times(pid)) for pid in _children(postmaster))


def peak_rss_mb(pid: int) -> float:
    """Return the most memory that a live process ever had, in MB."""
    return _status_mb(pid, "VmHWM:")


def rss_mb(pid: int) -> float:
    """Return the resident memory of a live process, in MB."""
    return _status_mb(pid, "VmRSS:")


def measure_sync_ms(folder: Path) -> float:
    """Return how long the folder's disk needs to keep one block, in ms (median): a commit can't take less."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            began = time.monotonic()
            os.pwrite(file.fileno(), _BLOCK, 0)
            os.fdatasync(file.fileno())
            times.append((time.monotonic() - began) * 1e3)
    return round(statistics.median(times), 4)


async def find_postmaster(conn: Connection) -> int | None:
    """Return the pid of the server's first process, or None when it is not on this machine."""
    backend: int = await conn.fetchval("SELECT pg_backend_pid()")
    return _parent_of_postgres(backend)


async def describe_postgres(conn: Connection) -> dict[str, str]:
    """Return the settings that a number depends on."""
    rows = await conn.fetch(
        "SELECT name, current_setting(name) AS value FROM unnest($1::text[]) name", list(_SETTINGS)
    )
    return {row["name"]: row["value"] for row in rows}


def describe_machine() -> dict[str, Any]:
    """Return processor, memory, kernel, Python, and the processors that this process may use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def describe_commit() -> str:
    """Return the commit that is measured, with `+` when the tree differs from it."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return commit + (
            "+" if _git("status", "--porcelain", "--", "rkyc", "bench", ":!bench/results") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _status_mb(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _parent_of_postgres(pid: int) -> int | None:
    try:
        if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() != "postgres":
            return None
        return int(_stat(pid)[1])
    except FileNotFoundError:
        return None


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on: a name may hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _times(pid: int) -> list[float]:
    """Return user and system seconds, of the process and of its children that have ended."""
    try:
        return [int(ticks) / _TICKS for ticks in _stat(pid)[11:15]]
    except (FileNotFoundError, ProcessLookupError):
        return [0.0] * 4


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int(_stat(int(entry.name))[1]) == pid:
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found
