"""`rkyc jobs output|history`: what a step of a job gave, and what happened to the job."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from rkyc.cli.job_changes import JobArgument
from rkyc.cli.options import DsnOption, JsonOption
from rkyc.cli.output import print_json, print_table, say, show
from rkyc.cli.session import open_store, run_async
from rkyc.engine.outputs import StepOutput
from rkyc.flow import payload
from rkyc.flow.job_events import JobEvent

_COLUMNS = ("at", "event", "step", "attempt", "worker", "what")


def add_to(jobs: typer.Typer) -> None:
    """Add the commands of this module to `rkyc jobs`."""
    for command in (output, history):
        jobs.command()(command)


def output(
    job_id: JobArgument,
    step: Annotated[
        str | None, typer.Argument(metavar="[STEP]", help="By default the one that was done last.")
    ] = None,
    item: Annotated[
        str | None, typer.Option(metavar="KEY|NUMBER", help="Which element, where the step is part of a map.")
    ] = None,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Print what a step gave, as JSON; with --json also whose it is."""

    async def read() -> StepOutput:
        async with open_store(dsn) as app:
            return await app.client.find_output(job_id, step, item=item)

    found = run_async(read())
    value = payload.decode(found.text)
    if not json:
        print_json(value)
        return
    about = {} if found.item is None else {"item": found.item, "item_key": found.item_key}
    print_json({"job_id": job_id, "step": found.step, **about, "output": value})


def history(
    job_id: JobArgument,
    after: Annotated[int, typer.Option(metavar="ID", help="Only what came after this event.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000)] = 10_000,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Print what happened to a job, a line per event: every attempt, its worker and its error."""

    async def read() -> list[JobEvent]:
        async with open_store(dsn) as app:
            return await app.client.history(job_id, after=after, limit=limit)

    events = run_async(read())
    if json:
        print_json([_whole(event) for event in events])
    else:
        print_table(_COLUMNS, [_line(event) for event in events])
    if len(events) == limit:
        say(f"there may be more: rkyc jobs history {job_id} --after {events[-1].id}")


def _whole(event: JobEvent) -> dict[str, Any]:
    names = ("id", "at", "type", "step", "worker", "status", "progress_pct")
    return {**{name: getattr(event, name) for name in names}, **event.more}


def _line(event: JobEvent) -> list[Any]:
    more = event.more
    step = event.step if "item" not in more else f"{event.step}[{more['item']}]"
    return [event.at, event.type, step, more.get("attempt"), event.worker, _tell(event)]


def _tell(event: JobEvent) -> str:
    """Say the rest of an event: its error first."""
    more = event.more
    words = []
    if more.get("error"):
        words.append(f"{more['error']['code']} {more['error']['message'] or ''}".strip())
    if more.get("reason"):
        words.append(str(more["reason"]))
    if more.get("retry_at"):
        words.append(f"again at {show(datetime.fromisoformat(more['retry_at']))}")
    if more.get("degraded") or more.get("partial"):
        words.append("in part")
    if "from_version" in more:
        words.append(f"from version {more['from_version']} to {more['version']}")
    if "chunks" in more:
        words.append(f"{more['chunks']} chunks, {more['chars']} characters")
    return "; ".join(words)
