"""rkyc as a system of the public benchmark of Postgres job queues: `python -m bench.public.adapter`.

One process that enqueues, works and reports, as that benchmark's CONTRIBUTING_ADAPTERS.md wants it.
SCENARIO is `long_horizon`, or `migrate_only` and `worker_only`, which its older chaos.py uses. It ends
with 0 within 5 s of a SIGTERM. Which variables it reads stands in contract.py, how to run it in README.md.
RKYC_* settings are read as always; only RKYC_PREFETCH has another default, in contract.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import uvloop

from bench.public.contract import Orders, describe, report
from bench.public.ledger import Ledger
from bench.public.producer import Producer
from bench.public.workload import Tally, build_registry
from rkyc import __version__
from rkyc.app import App, open_app, tune_collector
from rkyc.cli.working import working
from rkyc.config import Settings, load_settings
from rkyc.errors import DatabaseConnectionError, StoreError
from rkyc.store.migrate import read_migrations
from rkyc.store.pool import fetch
from rkyc.store.statements import load
from rkyc.telemetry.logs import setup_logger

_SQL = load(__file__)
# Seconds that steps get to finish in at the end, and after which the process ends in any case.
_GRACE_S = 2.5
_END_S = 4.5
# Seconds between two looks at the depth. Each counts rows, and under a pinned snapshot passes dead ones,
# so it is often only where the producer follows it.
_DEPTH_S = 1.0
_DEPTH_FOLLOWED_S = 0.25


def main() -> None:
    orders = Orders.read(os.environ)
    setup_logger(level=os.environ.get("LOG_LEVEL", "WARNING"))
    uvloop.run(serve(orders, read_settings(orders, os.environ)))


def read_settings(orders: Orders, environ: os._Environ[str]) -> Settings:
    """Let the benchmark's variables decide over slots and connections, and RKYC_* over the rest."""
    given = {
        **environ,
        "RKYC_DSN": orders.database_url,
        "RKYC_SLOTS": str(orders.workers),
        "RKYC_PREFETCH": str(orders.prefetch),
        "RKYC_GRACE_S": str(_GRACE_S),
    }
    if environ.get("MAX_CONNECTIONS"):
        given["RKYC_POOL_SIZE"] = environ["MAX_CONNECTIONS"]
    return load_settings(given)


async def serve(orders: Orders, settings: Settings) -> None:
    """Run the scenario until SIGTERM.

    Raises:
        StoreError: the database can't serve at the start.
        SystemExit: a scenario that is not known.
    """
    if orders.scenario not in ("long_horizon", "worker_only", "migrate_only"):
        raise SystemExit(f"SCENARIO={orders.scenario}: expected long_horizon, worker_only or migrate_only")
    tally = Tally(orders)
    ledger = Ledger(orders.ledger, replica=orders.instance) if orders.ledger else None
    registry = build_registry(orders, tally, ledger)
    async with contextlib.AsyncExitStack() as stack:
        app = await stack.enter_async_context(open_app(settings, registry=registry))
        if orders.scenario == "migrate_only":
            return
        work = await stack.enter_async_context(working(app.make_worker()))
        tune_collector()
        if orders.scenario == "worker_only":
            await work.until()
        else:
            _say_descriptor(orders)
            await work.until(_run_parts(app, orders, tally, ledger))
        # Whatever still hangs then, a database that is away for instance, must not hold the process.
        asyncio.get_running_loop().call_later(_END_S, os._exit, 0)


def _say_descriptor(orders: Orders) -> None:
    database = urlsplit(orders.database_url).path.lstrip("/")
    schema = str(read_migrations()[-1].number)
    describe(orders, version=__version__, schema_version=schema, database=database)


async def _run_parts(app: App, orders: Orders, tally: Tally, ledger: Ledger | None) -> None:
    """Enqueue, look and report until cancelled, or until one of them fails."""
    producer = Producer(client=app.client, orders=orders, tally=tally, ledger=ledger)
    reporter = Reporter(orders, tally)
    async with asyncio.TaskGroup() as group:
        group.create_task(producer.run())
        group.create_task(_watch_depths(app, orders, tally))
        group.create_task(reporter.run())


async def _watch_depths(app: App, orders: Orders, tally: Tally) -> None:
    is_followed = orders.producer_mode == "depth-target"
    while orders.is_observer or is_followed:
        try:
            async with app.pool.connection() as conn:
                rows = await fetch(conn, _SQL["count_tasks"])
            tally.note_depths({row["state"]: row["tasks"] for row in rows})
        except (DatabaseConnectionError, StoreError) as error:
            print(f"the depth is not known: {error}", file=sys.stderr)
        await asyncio.sleep(_DEPTH_FOLLOWED_S if is_followed else _DEPTH_S)


class Reporter:
    """Writes the samples, at the same moments of the wall clock as every other adapter."""

    def __init__(self, orders: Orders, tally: Tally) -> None:
        self._orders = orders
        self._tally = tally
        self._last_at = time.monotonic()
        self._last = (0, 0, 0)

    async def run(self) -> None:
        """Report at every multiple of the period, and once more at the end."""
        period_s = self._orders.sample_every_s
        # The first sample looks back over a whole period.
        await self._sleep_until_next(period_s)
        self._begin_period()
        try:
            while True:
                await self._sleep_until_next(period_s)
                report(self._orders, self._samples())
        finally:
            report(self._orders, self._samples())

    async def _sleep_until_next(self, period_s: float) -> None:
        now = time.time()
        await asyncio.sleep((now // period_s + 1) * period_s - now)

    def _begin_period(self) -> tuple[float, tuple[int, ...]]:
        """Return how long the period was that ends now, and how many were enqueued, ended and refused in it."""
        now, tally = time.monotonic(), self._tally
        counts = (tally.enqueued, tally.ended, tally.refused)
        took_s = max(0.001, now - self._last_at)
        grown = tuple(count - last for count, last in zip(counts, self._last, strict=True))
        self._last_at, self._last = now, counts
        return took_s, grown

    def _samples(self) -> Iterator[tuple[str, float, float]]:
        took_s, (enqueued, ended, refused) = self._begin_period()
        yield "enqueue_rate", enqueued / took_s, took_s
        yield "completion_rate", ended / took_s, took_s
        yield "enqueue_refused_rate", refused / took_s, took_s
        tally, window_s = self._tally, self._orders.window_s
        windows = {
            "producer": tally.producer,
            "producer_call": tally.producer_call,
            "subscriber": tally.claim,
            "claim": tally.claim,
            "end_to_end": tally.end_to_end,
        }
        for name, window in windows.items():
            for share, value in zip((50, 95, 99), window.percentiles() or (), strict=False):
                yield f"{name}_p{share}_ms", value, window_s
        if self._orders.is_observer:
            yield from self._observed()

    def _observed(self) -> Iterator[tuple[str, float, float]]:
        depths = self._tally.depths
        yield "queue_depth", depths.get("queued", 0), 0
        yield "running_depth", depths.get("running", 0), 0
        yield "retryable_depth", depths.get("retry_backoff", 0), 0
        yield "scheduled_depth", depths.get("scheduled", 0), 0
        yield "total_backlog", sum(depths.values()), 0
        yield (
            "producer_target_rate",
            0 if self._orders.producer_mode == "depth-target" else self._orders.read_rate(),
            0,
        )


if __name__ == "__main__":
    main()
