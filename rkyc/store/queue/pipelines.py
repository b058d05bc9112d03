"""The pipeline versions that workers announced, so that views and `enqueue` know them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rkyc.errors import UnknownPipelineError
from rkyc.flow import payload
from rkyc.flow.lane import LanePolicy
from rkyc.flow.pipeline import Registry
from rkyc.store.pool import Connection, Record, fetch, fetch_row
from rkyc.store.queue.expiry import declare_start_limits
from rkyc.store.queue.retention import declare_retention
from rkyc.store.statements import load

_SQL = load(__file__)


async def register_pipelines(conn: Connection, registry: Registry) -> None:
    """Announce all pipelines and lanes of a registry; harmless to repeat."""
    await fetch(conn, _SQL["register_lanes"], lanes=registry.lanes)
    if registry.policies:
        await register_policies(conn, list(registry.policies.values()))
    await declare_start_limits(conn, list(registry))
    await declare_retention(conn, list(registry))
    for pipeline in registry:
        graph = pipeline.graph
        await fetch(
            conn,
            _SQL["register_pipeline"],
            name=pipeline.name,
            version=pipeline.version,
            graph=payload.encode(graph.describe()),
            first_step=graph.first,
            first_lane=graph.places[graph.first].step.lane,
        )


async def register_policies(
    conn: Connection, policies: Sequence[LanePolicy], now: datetime | None = None
) -> None:
    """Write what lanes do with tasks that wait too long and with dead letters.

    A new lane's first run comes one interval after `now`, which is the database's time unless told.
    """
    await fetch(
        conn,
        _SQL["register_policies"],
        lanes=[policy.lane for policy in policies],
        ttls=[policy.ttl_s for policy in policies],
        everys=[policy.redrive_every_s for policy in policies],
        at_mosts=[policy.redrive_at_most for policy in policies],
        times=[policy.redrive_times for policy in policies],
        kept_days=[policy.dead_kept_days for policy in policies],
        now=now,
    )


async def list_pipelines(conn: Connection) -> list[Record]:
    """Return (name, newest version) of every pipeline that was ever served on this database."""
    return await fetch(conn, _SQL["list_pipelines"])


async def read_graph(conn: Connection, name: str) -> Record:
    """Return (graph as JSON text, version) of the newest version of a pipeline.

    Raises:
        UnknownPipelineError: never served on this database.
    """
    row = await fetch_row(conn, _SQL["read_graph"], name=name)
    if row is None:
        known = ", ".join(r["name"] for r in await list_pipelines(conn)) or "none"
        raise UnknownPipelineError(f"no pipeline is called {name!r}: this database knows {known}")
    return row
