"""The routes of jobs that are done again in part: fork, rerun, differences, and the chain of runs."""

from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from rkyc.api.jobs import JOBS, links_of
from rkyc.api.requests import DiffQuery, ForkRequest, RerunRequest
from rkyc.api.services import SERVICES
from rkyc.api.wire import name_actor, read_body, read_job_id, read_query, respond


def routes() -> list[web.RouteDef]:
    """Return the routes of changes."""
    one = JOBS + "/{job_id}"
    return [
        web.post(one + "/fork", fork_job),
        web.post(one + "/rerun", rerun_job),
        web.get(one + "/diff", diff_jobs),
        web.get(one + "/runs", list_runs),
    ]


async def fork_job(request: web.Request) -> web.Response:
    """Make a new job that keeps what was done before a step."""
    services = request.app[SERVICES]
    job_id = read_job_id(request)
    asked = await read_body(request, ForkRequest)
    forked = await services.client.fork(
        job_id,
        asked.from_step,
        # An input of null is one, too.
        **asked.model_dump(exclude={"from_step"}, exclude_unset=True),
        registry=services.registry,
        by=name_actor(request),
    )
    return respond(
        {"job_id": forked, "forked_from": job_id, "status": "pending", "links": links_of(forked)},
        status=202,
        headers={"Location": f"{JOBS}/{forked}"},
    )


async def rerun_job(request: web.Request) -> web.Response:
    """Run what changed again, as a new job: 202; 200 where there is nothing to run, or it was only planned."""
    services = request.app[SERVICES]
    job_id = read_job_id(request)
    asked = await read_body(request, RerunRequest, may_be_empty=True)
    rerun = await services.client.rerun(
        job_id, **asked.model_dump(exclude_unset=True), registry=services.registry, by=name_actor(request)
    )
    body = {"rerun_of": job_id, **asdict(rerun)}
    if rerun.job_id is None:
        return respond(body)
    headers = {"Location": f"{JOBS}/{rerun.job_id}"}
    return respond({**body, "links": links_of(rerun.job_id)}, status=202, headers=headers)


async def diff_jobs(request: web.Request) -> web.Response:
    """Show how another job's outputs and costs differ from this one's."""
    query = read_query(request, DiffQuery)
    found = await request.app[SERVICES].client.diff(read_job_id(request), query.to)
    steps = {step: [asdict(one) for one in differences] for step, differences in found.steps.items()}
    return respond({"steps": steps, "before": found.before, "after": found.after})


async def list_runs(request: web.Request) -> web.Response:
    """List the jobs that this one came of and that came of it."""
    rows = await request.app[SERVICES].client.runs(read_job_id(request))
    return respond({"runs": [dict(row) for row in rows]})
