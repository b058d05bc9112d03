"""The web application: routes, limits and the edge where errors become answers.

It is only put together here; `app` makes the services, and whoever serves runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from rkyc.api import blobs, jobs, operations, pipelines
from rkyc.api.origin import refuse_foreign_pages
from rkyc.api.problems import answer_problems
from rkyc.api.services import SERVICES, Services


def make_application(services: Services) -> web.Application:
    """Return the application; its event feed runs while it is served."""
    application = web.Application(
        middlewares=[answer_problems, refuse_foreign_pages],
        client_max_size=services.options.body_bytes_max,
    )
    application[SERVICES] = services
    application.add_routes(
        [*operations.routes(), *jobs.routes(), *blobs.routes(services.options), *pipelines.routes()]
    )
    application.cleanup_ctx.append(_run_feed)
    application.on_shutdown.append(_end_streams)
    return application


async def _run_feed(application: web.Application) -> AsyncIterator[None]:
    running = asyncio.create_task(application[SERVICES].feed.run(), name="rkyc events")
    yield
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def _end_streams(application: web.Application) -> None:
    application[SERVICES].feed.close()
