"""`rkyc jobs output`: what the database keeps of a job, looked at one thing at a time."""

from __future__ import annotations

from typing import Annotated

import typer

from rkyc.cli.job_changes import JobArgument
from rkyc.cli.options import DsnOption, JsonOption
from rkyc.cli.output import print_json
from rkyc.cli.session import open_store, run_async
from rkyc.engine.outputs import StepOutput
from rkyc.flow import payload


def add_to(jobs: typer.Typer) -> None:
    """Add the commands of this module to `rkyc jobs`."""
    for command in (output,):
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
