"""`rkyc jobs`: list, show, watch, cancel, retry and signal jobs, by the database alone.

See also `job_changes` and `job_records`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote
from uuid import UUID

import typer

from rkyc.cli import job_changes, job_records
from rkyc.cli.follow import choose_view, describe_step, fold_items, follow_job
from rkyc.cli.options import DsnOption, JsonOption, make_program, read_json_input
from rkyc.cli.output import decode_row, one_line, print_json, print_rows, print_table, show
from rkyc.cli.program import EXIT_FAILED
from rkyc.cli.session import name_actor, open_store, read_settings, run_async
from rkyc.config import HOOK_EXPECTED
from rkyc.engine.messages import HOOKS, derive_hook_key
from rkyc.errors import ConfigError, UsageError
from rkyc.flow import payload
from rkyc.store.pool import Record

_LIST_COLUMNS = ("job_id", "pipeline", "status", "wait_reason", "pipeline_step", "progress_pct", "created_at")
_SHOW_FIELDS = (
    *("job_id", "pipeline", "version", "lane", "status", "wait_reason", "pipeline_step", "progress_pct"),
    *("partial", "error_code", "error_message", "worker", "created_at", "started_at", "finished_at"),
    *("wait_detail", "due_at", "metadata", "usage"),
)
# Longer inputs and results are shown by --json alone.
_VALUE_CHARS_MAX = 1000

JobArgument: TypeAlias = Annotated[UUID, typer.Argument(metavar="JOB_ID")]

program = make_program(no_args_is_help=True, help="List, show, watch, cancel, retry, fork and signal jobs.")
job_changes.add_to(program)
job_records.add_to(program)


class Status(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@program.command("list")
def list_(
    pipeline: Annotated[str | None, typer.Option(help="Of this pipeline alone.")] = None,
    status: Annotated[Status | None, typer.Option(help="In this status alone.")] = None,
    corp: Annotated[str | None, typer.Option(help="About this company alone (corp_id).")] = None,
    meta: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="With this metadata; may be given several times."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    before: Annotated[UUID | None, typer.Option(metavar="JOB_ID", help="Older than this one.")] = None,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """List jobs, newest first."""
    metadata = read_pairs(meta or [])

    async def read() -> list[Record]:
        async with open_store(dsn) as app:
            return await app.client.list_jobs(
                pipeline=pipeline,
                status=status.value if status else None,
                corp=corp,
                metadata=metadata,
                limit=limit,
                before=before,
            )

    rows = run_async(read())
    print_rows(_LIST_COLUMNS, rows, is_json=json, empty="no such job: `rkyc submit` enqueues one")


@program.command("show")
def show_(job_id: JobArgument, json: JsonOption = False, dsn: DsnOption = None) -> None:
    """Show a job with its steps, input, warnings, error and cost."""

    async def read() -> tuple[Record, list[Record]]:
        async with open_store(dsn) as app:
            return await app.client.get(job_id), await app.client.steps(job_id)

    _print_job(*run_async(read()), json)


@program.command()
def why(job_id: JobArgument, json: JsonOption = False, dsn: DsnOption = None) -> None:
    """Say in one line why a job does not run, and what would make it run."""

    async def read() -> Record:
        async with open_store(dsn) as app:
            return await app.client.why(job_id)

    row = decode_row(run_async(read()))
    if json:
        print_json({"job_id": job_id, **row})
    else:
        print(one_line(f"{row['why']}. To do: {row['remedy']}."))


@program.command()
def watch(job_id: JobArgument, json: JsonOption = False, dsn: DsnOption = None) -> None:
    """Follow a job to its end; the exit code is 0 when it completed, else 1."""

    async def follow() -> tuple[Record, list[Record]]:
        async with open_store(dsn) as app:
            job = await follow_job(app.client, job_id, choose_view())
            return job, await app.client.steps(job_id)

    job, steps = run_async(follow())
    if json:
        _print_job(job, steps, True)
    else:
        print(describe_end(job))
    raise typer.Exit(0 if job["status"] == "completed" else EXIT_FAILED)


@program.command()
def cancel(
    job_id: JobArgument,
    reason: Annotated[str | None, typer.Option(help="Kept with the job.")] = None,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Cancel a job; one that has ended stays as it is.

    Where its steps have compensators, what they did is undone first. A second cancel stops that.
    """

    async def act() -> tuple[str, Record | None, Record]:
        async with open_store(dsn) as app:
            done = await app.client.request_cancel(job_id, reason, by=name_actor())
            undoing = await app.client.undo(job_id) if done == "undoing" else None
            return done, undoing, await app.client.get(job_id)

    done, undoing, job = run_async(act())
    left = payload.decode(undoing["steps_left"]) if undoing is not None else []
    if json:
        more = {"undoing": left} if undoing is not None else {}
        print_json({"job_id": job_id, "cancelled": done != "ended", "status": job["status"], **more})
    elif done == "ended":
        print(f"{job_id} had ended before: {job['status']}")
    elif undoing is None:
        print(f"{job_id} cancelled")
    else:
        print(f"{job_id} is cancelled when what it did is undone: {', '.join(left) or 'nothing left'}")


@program.command()
def retry(
    job_id: JobArgument,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="STEP", help="Run this step and all after it again, of any job that ended."
        ),
    ] = None,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Start a failed or cancelled job again where it ended; completed steps keep their outputs."""

    async def act() -> Record:
        async with open_store(dsn) as app:
            if from_ is not None:
                await app.client.retry_from(job_id, from_, by=name_actor())
            else:
                await app.client.retry(job_id, by=name_actor())
            return await app.client.get(job_id)

    job = run_async(act())
    if json:
        print_json({"job_id": job_id, "status": job["status"], "pipeline_step": job["pipeline_step"]})
    else:
        print(f"{job_id} {job['status']} at {job['pipeline_step']}")


@program.command()
def signal(
    job_id: JobArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the job waits for.")],
    payload: Annotated[str, typer.Argument(metavar="JSON|@FILE", help="What it is told.")] = "null",
    delivery: Annotated[
        str | None, typer.Option(metavar="ID", help="The same one counts once, however often it is sent.")
    ] = None,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Send a signal to a job, now or before it waits."""
    value = read_json_input(payload, "JSON")

    async def act() -> tuple[bool, Record]:
        async with open_store(dsn) as app:
            is_new = await app.client.signal(
                job_id, name, value, delivery_id=delivery, source="cli", by=name_actor()
            )
            return is_new, await app.client.get(job_id)

    is_new, job = run_async(act())
    if json:
        print_json({"job_id": job_id, "name": name, "repeated": not is_new, "status": job["status"]})
    else:
        print(f"{job_id} signal {name} sent" if is_new else f"{job_id} signal {name} had come before")


@program.command()
def hook(
    job_id: JobArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The signal that it becomes.")],
    json: JsonOption = False,
) -> None:
    """Print where a webhook sends a signal to, and the secret that it is signed with."""
    master = read_settings().hook_secret
    if master is None:
        raise ConfigError(
            f"RKYC_HOOK_SECRET is not set: set it, here and for `rkyc serve`, to {HOOK_EXPECTED}"
        )
    path = f"{HOOKS}/{job_id}/{quote(name, safe='')}"
    key = derive_hook_key(master.get_secret_value(), job_id, name)
    secret = "whsec_" + base64.b64encode(key).decode()
    if json:
        print_json({"path": path, "secret": secret})
    else:
        print(f"POST {path}\n{secret}")


def describe_end(job: Record) -> str:
    """Say how a job ended, in one line."""
    if job["status"] == "failed":
        return one_line(
            f"{job['job_id']} failed in {job['pipeline_step']}: {job['error_code']} {job['error_message']}"
        )
    return f"{job['job_id']} {job['status']}" + (" in part: see its warnings" if job["partial"] else "")


def read_pairs(given: Sequence[str]) -> dict[str, str] | None:
    """Read `KEY=VALUE` texts.

    Raises:
        UsageError: one is not of that form.
    """
    pairs = [text.partition("=") for text in given]
    if any(not key or not sign for key, sign, _ in pairs):
        raise UsageError("--meta: expected KEY=VALUE, such as --meta customer=7")
    return {key: value for key, _, value in pairs} or None


def _print_job(row: Record, steps: Sequence[Record], is_json: bool) -> None:
    job = decode_row(row)
    if is_json:
        print_json({**job, "steps": [dict(step) for step in steps]})
        return
    for name in _SHOW_FIELDS:
        if job[name] not in (None, {}):
            print(f"{name:<14} {show(job[name])}")
    for name in ("input", "result"):
        if job[name] is not None:
            print(f"{name:<14} {_shorten(show(job[name]))}")
    print()
    columns = ("step", "state", "started_at", "finished_at", "worker", "provider")
    print_table(
        columns,
        (
            [describe_step(step) if name == "state" else step[name] for name in columns]
            for step in fold_items(steps)
        ),
    )
    for line in _warning_lines(job["warnings"]):
        print(line)


def _warning_lines(warnings: Any) -> list[str]:
    return [
        one_line(f"warning in {group['step']}: {item['code']} {item['message']}")
        for group in warnings or ()
        for item in group["items"]
    ]


def _shorten(text: str) -> str:
    return text if len(text) <= _VALUE_CHARS_MAX else text[:_VALUE_CHARS_MAX] + "… (whole with --json)"
