"""A ledger of what really ran: one line per event, appended so that a kill -9 loses none of them.

Steps write to the file that their input names; tests read it back and count.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One event: what happened, in which step of which job (as its input calls it), in which process."""

    what: str
    step: str
    job: str
    attempt: int
    pid: int


def record(path: str, what: str, step: str, job: str, attempt: int) -> None:
    """Append an event in one write."""
    line = f"{what} {step} {job} {attempt} {os.getpid()}\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def read_ledger(path: Path) -> list[Entry]:
    """Return the events in the order in which they were written."""
    if not path.exists():
        return []
    rows = [line.split() for line in path.read_text().splitlines()]
    return [Entry(what, step, job, int(attempt), int(pid)) for what, step, job, attempt, pid in rows]


def count(entries: list[Entry], what: str) -> Counter[tuple[str, str]]:
    """Count one kind of event by (job, step)."""
    return Counter((entry.job, entry.step) for entry in entries if entry.what == what)
