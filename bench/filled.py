"""A database with a past: millions of finished jobs, and jobs that fall due in days.

Made by INSERT … SELECT, some 20 µs a job instead of the engine's 100: the rows are those of jobs of two
steps, without the time that running them takes. The tests' guards of plans use the same rows.
"""

from __future__ import annotations

from bench.harness import Connection
from rkyc.store.statements import load

_SQL = load(__file__)


async def fill(conn: Connection, *, finished: int, scheduled: int) -> None:
    """Add finished jobs, each with a checkpoint and its history, and scheduled ones."""
    newest: int = await conn.fetchval(_SQL["find_newest"].text)
    for rows, names in (
        (finished, ("fill_jobs", "fill_history", "fill_checkpoints")),
        (scheduled, ("fill_jobs", "fill_scheduled")),
    ):
        for name in names:
            arguments = _SQL[name].args(newest=newest, rows=rows)
            await conn.execute(_SQL[name].text, *arguments, timeout=None)
        newest += rows
    await conn.execute(_SQL["move_numbers"].text, newest)
