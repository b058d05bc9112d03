"""`GET /api/v1/jobs/{id}/stream`: the tokens that a job's steps emit, as they come.

A client that comes late, or back with Last-Event-ID, gets what it missed as long as it is kept. The stream
ends with the job; who comes back after that end gets 204. A client that does not read is cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from aiohttp import web

from rkyc.api.services import SERVICES, Services
from rkyc.api.sse import HEADERS, RECONNECT, read_last_id, require_room, send
from rkyc.api.token_events import TokenPage, read_place
from rkyc.api.token_feed import SOCKET_BYTES, Listener
from rkyc.api.wire import read_job_id
from rkyc.errors import DatabaseConnectionError, StoreError
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)

# How long a stream waits for a database that is away before it looks again. Seconds.
_AWAY_PAUSE_S = 1.0


async def stream_tokens(request: web.Request) -> web.StreamResponse:
    """Stream a job's tokens until its end, or until the client goes."""
    services = request.app[SERVICES]
    feed = services.tokens
    uuid = read_job_id(request)
    require_room(services)
    job_id = await feed.find(uuid)
    place, has_end = read_place(read_last_id(request))
    page = await feed.read(job_id, place)
    if has_end and page.is_over and not page.events:
        return web.Response(status=204)
    response = web.StreamResponse(headers=HEADERS)
    is_chunked = request.version >= (1, 1)
    if is_chunked:
        response.enable_chunked_encoding()
    await response.prepare(request)
    transport = request.transport
    if transport is None:
        return response
    _bound(transport)
    listener = Listener(uuid, job_id, transport, is_chunked=is_chunked)
    feed.add(listener)
    services.metrics.sse_opened()
    _log.debug(events.STREAM_OPENED, job_id=str(uuid))
    try:
        await send(request, response, RECONNECT)
        await _run(request, response, services, listener, page)
    except ConnectionResetError:
        # The client went away; it knows its place and may come back.
        pass
    finally:
        feed.remove(listener)
        services.metrics.sse_closed()
        _log.debug(events.STREAM_CLOSED, job_id=str(uuid))
    return response


async def _run(
    request: web.Request,
    response: web.StreamResponse,
    services: Services,
    listener: Listener,
    page: TokenPage,
) -> None:
    """Send what the client missed, then let it take part in what comes."""
    feed = services.tokens
    while not (listener.over.is_set() or feed.is_closing):
        if page.events:
            await send(request, response, page.after(0))
        listener.place = page.place
        try:
            if page.is_over:
                await send(request, response, await feed.read_end(listener.uuid, listener.job_id, page))
                return
            if not page.is_full and feed.join(listener):
                await listener.over.wait()
                return
            page = await feed.read(listener.job_id, listener.place)
        except (DatabaseConnectionError, StoreError):
            page = TokenPage((), listener.place, None, True, False)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(listener.over.wait(), _AWAY_PAUSE_S)


def _bound(transport: asyncio.Transport) -> None:
    """Keep what the kernel holds for a client that does not read to what it needs."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
