"""`rkyc dlq`: the jobs that failed for good: look through them, start them again, discard them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, TypeAlias
from uuid import UUID

import typer

from rkyc.cli.options import DsnOption, JsonOption, make_program
from rkyc.cli.output import decode_row, one_line, print_json, print_rows, show
from rkyc.cli.session import name_actor, open_store, run_async
from rkyc.errors import InvalidInputError, UsageError
from rkyc.flow.ids import parse_job_id
from rkyc.store.pool import Record
from rkyc.store.queue.dead_letters import OPEN_STATES, Filter

_COLUMNS = ("id", "queue", "job_id", "step", "reason", "error_code", "retry_count", "fingerprint", "last_at")
_GROUP_COLUMNS = ("count", "queue", "step", "error_code", "fingerprint", "last_at", "error_message")
_HIDDEN = ("input", "error_details", "open_tasks")


class Reason(StrEnum):
    TASK_FAILED = "task_failed"
    TTL_EXPIRED = "ttl_expired"
    WORKER_LOST = "worker_lost"
    COMPENSATION_FAILED = "compensation_failed"


QueueOption: TypeAlias = Annotated[str | None, typer.Option(help="Of this queue alone, such as dlq.default.")]
FingerprintOption: TypeAlias = Annotated[
    str | None, typer.Option(help="Of this kind of failure alone; `dlq list --groups` shows them.")
]
CodeOption: TypeAlias = Annotated[
    str | None, typer.Option("--error-code", help="With this error code alone.")
]
ReasonOption: TypeAlias = Annotated[Reason | None, typer.Option(help="Dead for this reason alone.")]
PipelineOption: TypeAlias = Annotated[str | None, typer.Option(help="Of this pipeline alone.")]
ArchivedOption: TypeAlias = Annotated[bool, typer.Option("--archived", help="Those of the archive.")]
LettersArgument: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="[ID|JOB_ID]…", help="Dead letters by number or job.")
]
AllOption: TypeAlias = Annotated[bool, typer.Option("--all", help="All, when nothing else says which.")]
PreviewOption: TypeAlias = Annotated[
    bool, typer.Option("--preview", help="Say how many it would be, and do nothing.")
]

program = make_program(no_args_is_help=True, help="List, show, requeue and discard dead letters.")


@program.command("list")
def list_(
    queue: QueueOption = None,
    fingerprint: FingerprintOption = None,
    error_code: CodeOption = None,
    reason: ReasonOption = None,
    pipeline: PipelineOption = None,
    archived: ArchivedOption = False,
    groups: Annotated[bool, typer.Option("--groups", help="One line for each kind of failure.")] = False,
    before: Annotated[int | None, typer.Option(metavar="ID", help="That failed before this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """List dead letters, the last failure first."""
    state = "archived" if archived else "dead"

    async def read() -> Sequence[Record]:
        async with open_store(dsn) as app:
            letters = app.client.dead_letters
            if groups:
                return await letters.groups(state=state, queue=queue, limit=limit)
            return await letters.list(
                state=state,
                queue=queue,
                fingerprint=fingerprint,
                error_code=error_code,
                reason=reason.value if reason else None,
                pipeline=pipeline,
                before=before,
                limit=limit,
            )

    rows = run_async(read())
    columns = _GROUP_COLUMNS if groups else _COLUMNS
    print_rows(
        columns,
        rows,
        is_json=json,
        empty="no dead letter" if archived else "no dead letter: `--archived` shows those of the archive",
    )


@program.command("show")
def show_(
    letter: Annotated[str, typer.Argument(metavar="ID|JOB_ID")],
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Show a dead letter with the job's input and the steps that are left."""

    async def read() -> Record:
        async with open_store(dsn) as app:
            return await app.client.dead_letters.get(_read_letter(letter))

    row = decode_row(run_async(read()))
    if json:
        print_json(row)
        return
    for name, value in row.items():
        if value is not None:
            print(f"{name:<14} {one_line(show(value))}")


@program.command()
def requeue(
    letters: LettersArgument = None,
    queue: QueueOption = None,
    fingerprint: FingerprintOption = None,
    error_code: CodeOption = None,
    reason: ReasonOption = None,
    pipeline: PipelineOption = None,
    archived: ArchivedOption = False,
    all: AllOption = False,
    preview: PreviewOption = False,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Start failed jobs again at the step that failed; completed steps are not repeated."""
    wanted = _make_filter(queue, fingerprint, error_code, reason, pipeline, archived)
    _act("requeue", letters, wanted, all=all, preview=preview, json=json, dsn=dsn)


@program.command()
def discard(
    letters: LettersArgument = None,
    queue: QueueOption = None,
    fingerprint: FingerprintOption = None,
    error_code: CodeOption = None,
    reason: ReasonOption = None,
    pipeline: PipelineOption = None,
    archived: ArchivedOption = False,
    all: AllOption = False,
    preview: PreviewOption = False,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Set dead letters aside for good; their jobs stay failed."""
    wanted = _make_filter(queue, fingerprint, error_code, reason, pipeline, archived)
    _act("discard", letters, wanted, all=all, preview=preview, json=json, dsn=dsn)


def _make_filter(
    queue: str | None,
    fingerprint: str | None,
    error_code: str | None,
    reason: Reason | None,
    pipeline: str | None,
    archived: bool,
) -> Filter:
    return Filter(
        states=("archived",) if archived else ("dead",),
        queue=queue,
        fingerprint=fingerprint,
        error_code=error_code,
        reason=reason.value if reason else None,
        pipeline=pipeline,
    )


def _act(
    what: str,
    letters: list[str] | None,
    wanted: Filter,
    *,
    all: bool,
    preview: bool,
    json: bool,
    dsn: str | None,
) -> None:
    """Do it to those that are named, or to all that the filter fits; or say how many that are."""
    if not letters and not all and wanted in (Filter(states=("dead",)), Filter(states=("archived",))):
        raise UsageError(f"dlq {what}: say which: numbers, job ids, a filter such as --fingerprint, or --all")

    async def act() -> int:
        async with open_store(dsn) as app:
            dead = app.client.dead_letters
            chosen = wanted
            if letters:
                # By name, wherever it is: a person may take it out of the archive.
                ids = tuple([(await dead.get(_read_letter(one)))["id"] for one in letters])
                chosen = replace(wanted, ids=ids, states=OPEN_STATES)
            if preview:
                return await dead.count(chosen)
            do = dead.requeue if what == "requeue" else dead.discard
            return await do(chosen, by=name_actor())

    count = run_async(act())
    if json:
        print_json({"count": count, "action": what, "preview": preview})
    else:
        done = f"{what}ed" if what == "discard" else f"{what}d"
        print(f"{count} dead letter{'' if count == 1 else 's'} {'would be ' if preview else ''}{done}")


def _read_letter(given: str) -> int | UUID:
    if given.isdecimal() and len(given) < 19:
        return int(given)
    try:
        return parse_job_id(given)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"{given[:60]!r} names no dead letter: expected its number or its job's id"
        ) from error
