"""The route of what one step of a job gave."""

from __future__ import annotations

from aiohttp import web

from rkyc.api.jobs import JOBS
from rkyc.api.requests import OutputQuery
from rkyc.api.services import SERVICES
from rkyc.api.wire import embed, read_job_id, read_query, respond


def routes() -> list[web.RouteDef]:
    """Return the route of outputs."""
    return [web.get(JOBS + "/{job_id}/steps/{step}/output", show_output)]


async def show_output(request: web.Request) -> web.Response:
    """Show the newest output of a step, in a map that of one item."""
    job_id = read_job_id(request)
    query = read_query(request, OutputQuery)
    found = await request.app[SERVICES].client.find_output(
        job_id, request.match_info["step"], item=query.item
    )
    item = {} if found.item is None else {"item": found.item, "item_key": found.item_key}
    return respond({"job_id": job_id, "step": found.step, **item, "output": embed(found.text)})
