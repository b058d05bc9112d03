"""`GET /api/v1/jobs/{id}/events`: a job's events as they happen, every one once, in their order.

A client that comes back with Last-Event-ID gets what it missed; one that comes late gets the whole
history. The stream ends with the job. Who comes back after that end gets 204, which tells a browser to
come no more. While the database is away the stream stays open and goes on when it is back.
"""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from rkyc.api.event_feed import EventReader, Watch
from rkyc.api.problems import Problem
from rkyc.api.services import SERVICES, Services
from rkyc.api.wire import read_job_id
from rkyc.errors import DatabaseConnectionError, StoreError
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    # Proxies that buffer would hold events back. Source: nginx, X-Accel-Buffering.
    "X-Accel-Buffering": "no",
}
# How soon a browser comes back after a cut. Milliseconds.
RECONNECT = b"retry: 1000\n\n"
_PING = b": ping\n\n"
# Digits of the largest id there can be.
_ID_DIGITS_MAX = 15
# How long a stream waits for a database that is away before it looks again. Seconds.
_AWAY_PAUSE_S = 1.0
# How long a client may not take what it is sent before it is cut. Seconds.
_WRITE_LIMIT_S = 30.0


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Stream a job's events until its end, or until the client goes."""
    services = request.app[SERVICES]
    feed = services.feed
    job_id = read_job_id(request)
    require_room(services)
    transport = request.transport
    reader = await feed.open(job_id)
    with feed.watch(
        job_id, reader.job_id, is_gone=lambda: transport is None or transport.is_closing()
    ) as watch:
        await _skip(request, reader)
        first = await reader.next()
        if not first and reader.is_over:
            return web.Response(status=204)
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        stream = _Stream(request, response, services, watch, reader)
        services.metrics.sse_opened()
        _log.debug(events.STREAM_OPENED, job_id=str(job_id))
        try:
            await send(request, response, RECONNECT + first)
            await stream.run()
        except ConnectionResetError:
            # The client went away; it knows its place and may come back.
            pass
        finally:
            services.metrics.sse_closed()
            _log.debug(events.STREAM_CLOSED, job_id=str(job_id))
    return response


def require_room(services: Services) -> None:
    """Refuse a stream that is one too many.

    Raises:
        Problem: 503, with when to come again.
    """
    feed, tokens = services.feed, services.tokens
    if feed.is_closing or feed.count + tokens.count >= services.options.sse_clients_max:
        raise Problem(
            503, "STREAMS_FULL", "this process keeps no more event streams open: try again", retry_after_s=2
        )


def read_last_id(request: web.Request) -> str:
    """Return the id of the last event that the client has, as it says; empty for none."""
    # A browser that comes back sends the header, beside the query of its first address.
    return request.headers.get("Last-Event-ID") or request.query.get("last_event_id", "")


async def send(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """Send data at the client's pace; cut it if it takes nothing for long.

    Raises:
        ConnectionResetError: the client is gone, or was cut.
    """
    try:
        async with asyncio.timeout(_WRITE_LIMIT_S):
            await response.write(data)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client does not read") from None


async def _skip(request: web.Request, reader: EventReader) -> None:
    """Go to the client's place; if it named one that is not of this job, it gets all."""
    given = read_last_id(request)
    if not given:
        return
    if given.isascii() and given.isdigit() and len(given) <= _ID_DIGITS_MAX:
        await reader.skip_to(int(given))
    else:
        reader.replay()


class _Stream:
    """Sends what comes, and a comment when nothing does."""

    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        services: Services,
        watch: Watch,
        reader: EventReader,
    ) -> None:
        self._request = request
        self._response = response
        self._feed = services.feed
        self._ping_s = services.options.ping_s
        self._watch = watch
        self._reader = reader

    async def run(self) -> None:
        sent_at = time.monotonic()
        while not (self._reader.is_over or self._feed.is_closing or self._watch.is_gone()):
            self._watch.clear()
            pause_s = max(0.0, sent_at + self._ping_s - time.monotonic())
            try:
                fresh = await self._reader.next()
            except (DatabaseConnectionError, StoreError):
                fresh = b""
                pause_s = min(pause_s, _AWAY_PAUSE_S)
            if fresh:
                await self._send(fresh)
                sent_at = time.monotonic()
                continue
            await self._watch.wait(pause_s)
            if time.monotonic() - sent_at >= self._ping_s:
                await self._send(_PING)
                sent_at = time.monotonic()

    async def _send(self, data: bytes) -> None:
        await send(self._request, self._response, data)
