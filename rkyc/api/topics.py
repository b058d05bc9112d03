"""The route of events to many: to all jobs that wait for a topic."""

from __future__ import annotations

from aiohttp import web

from rkyc.api.requests import EventRequest
from rkyc.api.services import SERVICES
from rkyc.api.wire import name_actor, read_body, respond


def routes() -> list[web.RouteDef]:
    """Return the route of events."""
    return [web.post("/api/v1/events", publish_event)]


async def publish_event(request: web.Request) -> web.Response:
    """Publish an event: 202, with how many waiting tasks it woke, also where none waits."""
    asked = await read_body(request, EventRequest)
    woken = await request.app[SERVICES].client.publish(
        asked.topic, asked.payload, source="api", by=name_actor(request)
    )
    return respond({"topic": asked.topic, "woken": woken}, status=202)
