"""The web application: routes, limits and the edge where errors become answers.

It is only put together here; `app` makes the services, and whoever serves runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from rkyc.api import (
    blobs,
    dlq,
    hooks,
    job_changes,
    jobs,
    operations,
    pauses,
    pipelines,
    schedules,
    step_outputs,
    topics,
)
from rkyc.api.origin import refuse_foreign_pages
from rkyc.api.problems import answer_problems
from rkyc.api.services import SERVICES, Services


def make_application(services: Services) -> web.Application:
    """Return the application; its feeds run while it is served."""
    application = web.Application(
        middlewares=[answer_problems, refuse_foreign_pages],
        client_max_size=services.options.body_bytes_max,
    )
    application[SERVICES] = services
    application.add_routes(
        [
            *operations.routes(),
            *jobs.routes(),
            *dlq.routes(),
            *job_changes.routes(),
            *step_outputs.routes(),
            *pauses.routes(),
            *blobs.routes(services.options),
            *pipelines.routes(),
            *hooks.routes(),
            *schedules.routes(),
            *topics.routes(),
        ]
    )
    application.cleanup_ctx.append(_run_feeds)
    application.on_shutdown.append(_end_streams)
    return application


async def _run_feeds(application: web.Application) -> AsyncIterator[None]:
    services = application[SERVICES]
    loops = {"hints": services.hints.run, "events": services.feed.run, "tokens": services.tokens.run}
    running = [asyncio.create_task(run(), name=f"rkyc {name}") for name, run in loops.items()]
    yield
    for task in running:
        task.cancel()
    for task in running:
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _end_streams(application: web.Application) -> None:
    application[SERVICES].feed.close()
    application[SERVICES].tokens.close()
