"""The web app on a real socket, with a worker in the same process when asked, and clients for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from rkyc.app import App, open_app
from rkyc.config import load_settings
from rkyc.engine.worker import Worker
from rkyc.flow.pipeline import Registry
from rkyc.web import serve_web
from tests.support.engine import FAST


@dataclass(slots=True)
class Web:
    """A served app and a client session on it; `worker` is ready, or None."""

    url: str
    session: aiohttp.ClientSession
    app: App
    worker: Worker | None

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        data = None if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.ask("POST", path, data=data, **options)

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Return (status, JSON body)."""
        async with self.session.request(method, path, **options) as response:
            text = await response.read()
            return response.status, orjson.loads(text) if text else None

    async def submit(self, pipeline: str, input: Any, **more: Any) -> str:
        """Submit a job and return its id."""
        status, body = await self.post("/api/v1/jobs", {"pipeline": pipeline, "input": input, **more})
        assert status == 202, body
        return str(body["job_id"])


@contextlib.asynccontextmanager
async def open_web(
    dsn: str,
    registry: Registry,
    *,
    works: bool = True,
    environ: dict[str, str] | None = None,
    **options: Any,
) -> AsyncIterator[Web]:
    """Serve the API, and unless told otherwise run a worker; `options` are fields of `WorkerOptions`."""
    settings = load_settings({"RKYC_DSN": dsn, **(environ or {})})
    async with open_app(settings, registry=registry) as app:
        worker = (
            app.make_worker(**{"upkeep": FAST, "slots": 50, "grace_s": 5.0, **options}) if works else None
        )
        async with (
            serve_web(app, worker, host="127.0.0.1", port=0) as url,
            aiohttp.ClientSession(url) as session,
            _running(worker),
        ):
            yield Web(url, session, app, worker)


@contextlib.asynccontextmanager
async def _running(worker: Worker | None) -> AsyncIterator[None]:
    if worker is None:
        yield
        return
    life = asyncio.create_task(worker.run())
    ready = asyncio.create_task(worker.ready.wait())
    await asyncio.wait({life, ready}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if life.done():
        life.result()
    try:
        yield
    finally:
        worker.stop()
        await life


@dataclass(frozen=True, slots=True)
class SentEvent:
    """One event as a client got it."""

    id: int
    type: str
    data: dict[str, Any]


@contextlib.asynccontextmanager
async def stream(
    session: aiohttp.ClientSession, job_id: str, last_id: int | str | None = None, *, by_query: bool = False
) -> AsyncIterator[AsyncIterator[SentEvent]]:
    """Open a job's event stream; leaving the block cuts it."""
    headers = {} if last_id is None or by_query else {"Last-Event-ID": str(last_id)}
    query = {"last_event_id": str(last_id)} if by_query else {}
    async with session.get(f"/api/v1/jobs/{job_id}/events", headers=headers, params=query) as response:
        assert response.status in (200, 204), await response.text()
        yield _events(response)
        # Not read to its end: the connection is of no more use.
        response.close()


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[SentEvent]:
    async for fields in read_sse(response):
        yield SentEvent(int(fields["id"]), fields["event"], orjson.loads(fields["data"]))


async def read_sse(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, str]]:
    """Yield the fields of each event that holds data."""
    fields: dict[str, str] = {}
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line:
            if "data" in fields:
                yield fields
            fields = {}


async def read_events(
    session: aiohttp.ClientSession, job_id: str, last_id: int | str | None = None, **options: Any
) -> list[SentEvent]:
    """Return all events of a stream up to its end."""
    async with stream(session, job_id, last_id, **options) as events:
        return [event async for event in events]
