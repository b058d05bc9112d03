"""Looks at the database while a case runs: dead tuples, and whether there is anything left to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import asyncpg

from bench.public.contract import MANIFEST
from bench.public.fleet import Fleet, Sample
from rkyc.store.statements import load

_SQL = load(__file__)
_AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
# Counted exactly at the end of a phase: those that every job passes through and leaves.
HOT_TABLES = ("rkyc.ready", "rkyc.running")
_IDLE_PAUSE_S = 0.25


class Observer:
    """Samples of the database beside those of the replicas.

    Each look has a connection of its own: some faults cut whatever is connected.
    """

    def __init__(self, dsn: str, fleet: Fleet, *, period_s: float) -> None:
        self._dsn = dsn
        self._fleet = fleet
        self._period_s = period_s

    async def run(self) -> None:
        """Look once a period until cancelled; while the server is away there is nothing to see."""
        while True:
            now = time.time()
            await asyncio.sleep((now // self._period_s + 1) * self._period_s - now)
            await self._sample("read_dead_tuples", MANIFEST["event_tables"], "dead_tuples")

    async def end_phase(self) -> None:
        """Count the dead tuples of the hot tables."""
        await self._sample("count_dead_tuples", HOT_TABLES, "dead_tuples_counted")

    async def wait_until_idle(self, patience_s: float) -> float:
        """Wait until no job is open, or until the patience ends; return the seconds."""
        began_at = time.monotonic()
        while (waited_s := time.monotonic() - began_at) < patience_s:
            rows = await self._look("count_open_tasks")
            if rows and rows[0]["tasks"] == 0:
                break
            await asyncio.sleep(_IDLE_PAUSE_S)
        return waited_s

    async def _sample(self, statement: str, tables: Sequence[str], metric: str) -> None:
        tick = round(time.time() / self._period_s)
        for row in await self._look(statement, list(tables)):
            self._fleet.samples.append(
                Sample(self._fleet.phase, tick, 0, metric, row["tuples"], row["subject"])
            )

    async def _look(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """Return the rows, or none when the server is away."""
        try:
            conn = await asyncpg.connect(self._dsn)
            try:
                rows: list[asyncpg.Record] = await conn.fetch(_SQL[statement].text, *values)
                return rows
            finally:
                conn.terminate()
        except _AWAY:
            return []
