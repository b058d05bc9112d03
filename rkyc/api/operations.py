"""What operators and their tools ask: alive, ready, metrics, workers, queues, limits, and the list of routes."""

from __future__ import annotations

import asyncio

from aiohttp import web

from rkyc.api.problems import RETRY_AFTER_S, Problem
from rkyc.api.services import SERVICES
from rkyc.api.wire import name_actor, respond
from rkyc.errors import DatabaseConnectionError, StoreError
from rkyc.store.queue import depths
from rkyc.store.queue.overview import list_limits, list_workers
from rkyc.telemetry.metrics import CONTENT_TYPE, LaneDepth

# A probe must answer before the one who asks gives up. Seconds.
_PROBE_S = 2.0
_STORE_ERRORS = (DatabaseConnectionError, StoreError, TimeoutError)


def routes() -> list[web.RouteDef]:
    """Return the routes of operations."""
    return [
        web.get("/", show_index),
        web.get("/healthz", show_health),
        web.get("/health", show_health),
        web.get("/readyz", show_readiness),
        web.get("/ready", show_readiness),
        web.get("/metrics", show_metrics),
        web.get("/api/v1/workers", show_workers),
        web.get("/api/v1/queues", show_queues),
        web.get("/api/v1/limits", show_limits),
        web.post("/api/v1/breakers/{name}/close", close_breaker),
    ]


async def show_index(request: web.Request) -> web.Response:
    """List the routes."""
    found = {
        f"{route.method} {route.resource.canonical}"
        for route in request.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    by_path = sorted(found, key=lambda line: line.split(" ")[::-1])
    return respond({"name": "rkyc", "version": request.app[SERVICES].options.version, "routes": by_path})


async def show_health(request: web.Request) -> web.Response:
    """Say that the process answers; it needs nobody else for that."""
    return respond({"status": "ok", "version": request.app[SERVICES].options.version})


async def show_readiness(request: web.Request) -> web.Response:
    """Say whether this process should get requests: not while it drains, nor without a database."""
    services = request.app[SERVICES]
    obstacle = services.find_obstacle()
    if obstacle is None:
        try:
            async with asyncio.timeout(_PROBE_S), services.pool.connection() as conn:
                await depths.ping(conn)
        except _STORE_ERRORS:
            obstacle = "the database does not answer"
    if obstacle is not None:
        raise Problem(503, "NOT_READY", obstacle, retry_after_s=RETRY_AFTER_S)
    return respond({"status": "ready"})


async def show_metrics(request: web.Request) -> web.Response:
    """Give the metrics; what only the database knows is left out while it is away."""
    services = request.app[SERVICES]
    try:
        async with asyncio.timeout(_PROBE_S), services.pool.connection() as conn:
            lanes = await depths.measure_lanes(conn)
            dead = await depths.list_dead_queues(conn)
        services.metrics.set_queue(
            (LaneDepth(row["lane"], row["ready"], row["oldest_seconds"]) for row in lanes),
            {row["queue"]: row["dead"] for row in dead},
            {row["archive_queue"]: row["archived"] for row in dead},
        )
    except _STORE_ERRORS:
        services.metrics.set_queue((), {})
    return web.Response(body=services.metrics.render(), headers={"Content-Type": CONTENT_TYPE})


async def show_workers(request: web.Request) -> web.Response:
    """List the processes that run jobs; `?all=1` the ended ones too."""
    async with request.app[SERVICES].pool.connection() as conn:
        rows = await list_workers(conn, all=request.query.get("all", "") in ("1", "true"))
    return respond({"workers": [dict(row) for row in rows]})


async def show_queues(request: web.Request) -> web.Response:
    """Show how much waits by lane and pipeline, and the dead letters."""
    async with request.app[SERVICES].pool.connection() as conn:
        queues = await depths.list_queues(conn)
        dead = await depths.list_dead_queues(conn)
    return respond({"queues": [dict(row) for row in queues], "dead_letters": [dict(row) for row in dead]})


async def show_limits(request: web.Request) -> web.Response:
    """Show what holds starts and calls back: places of limits, rates, breakers of providers."""
    async with request.app[SERVICES].pool.connection() as conn:
        rows = await list_limits(conn)
    return respond({"limits": [dict(row) for row in rows]})


async def close_breaker(request: web.Request) -> web.Response:
    """Let a provider be asked again at once; `changed` says whether its breaker had counted failures."""
    name = request.match_info["name"]
    is_changed = await request.app[SERVICES].client.close_breaker(name, by=name_actor(request))
    return respond({"breaker": name, "changed": is_changed})
