"""`rkyc jobs pause|resume|fork|diff|runs|migrate` and `rkyc rerun`: jobs that are done again in part, and how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import typer

from rkyc.app import App
from rkyc.cli.follow import choose_view, follow_job
from rkyc.cli.options import AppOption, DsnOption, JsonOption, make_program, read_json_input
from rkyc.cli.output import one_line, print_json, print_table, say, show
from rkyc.cli.program import EXIT_FAILED
from rkyc.cli.session import load_pipelines, name_actor, open_store, run_async
from rkyc.engine.changing import SAME, JobsDiff, Rerun
from rkyc.errors import ConfigError
from rkyc.flow.pipeline import Registry
from rkyc.store.pool import Record

_VALUE_CHARS_MAX = 60
_RUN_COLUMNS = ("job_id", "kind", "source_id", "version", "status", "created_at", "cost_usd")

JobArgument = Annotated[UUID, typer.Argument(metavar="JOB_ID")]
InputOption = Annotated[
    str | None,
    typer.Option(metavar="JSON", help="In place of the job's input; or @FILE. [default: the same]"),
]
VersionOption = Annotated[int | None, typer.Option(min=1, help="Of the pipeline.")]

program = make_program(help="Run what changed of an ended job again, as a new job; the rest is taken over.")


def add_to(jobs: typer.Typer) -> None:
    """Add the commands of this module to `rkyc jobs`."""
    for command in (pause, resume, fork, diff, runs, migrate):
        jobs.command()(command)


def pause(
    job_id: JobArgument,
    reason: Annotated[str | None, typer.Option(help="Shown while the job waits.")] = None,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Pause a job at its last checkpoint, at once."""

    async def act() -> bool:
        async with open_store(dsn) as app:
            return await app.client.pause(job_id, reason, by=name_actor())

    is_paused = run_async(act())
    if json:
        print_json({"job_id": job_id, "paused": is_paused})
    else:
        print(f"{job_id} paused" if is_paused else f"{job_id} has ended")


def resume(
    job_id: JobArgument,
    budget: Annotated[
        float | None, typer.Option(metavar="USD", help="Add so much to what the job may spend.")
    ] = None,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Let a paused job go on; one that paused for its budget with more of it."""

    async def act() -> bool:
        async with open_store(dsn) as app:
            if budget is None:
                return await app.client.resume(job_id, by=name_actor())
            await app.client.add_budget(job_id, budget, by=name_actor())
            await app.client.resume(job_id, by=name_actor())
            return True

    is_resumed = run_async(act())
    if json:
        print_json({"job_id": job_id, "resumed": is_resumed})
    else:
        print(f"{job_id} resumed" if is_resumed else f"{job_id} is not paused itself: see rkyc lanes list")


def fork(
    job_id: JobArgument,
    from_: Annotated[str, typer.Option("--from", metavar="STEP", help="The first step that runs again.")],
    input: InputOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="STEP=JSON", help="Another output of a step that is kept."),
    ] = None,
    version: VersionOption = None,
    app: AppOption = None,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Make a new job that keeps what was done before a step; print its id."""
    outputs = dict(_read_output(given) for given in set_ or ())

    async def act() -> UUID:
        async with open_store(dsn) as store:
            return await store.client.fork(
                job_id,
                from_,
                input=SAME if input is None else read_json_input(input),
                outputs=outputs,
                version=version,
                registry=await _load_registry(store, job_id, app),
                by=name_actor(),
            )

    forked = run_async(act())
    if json:
        print_json({"job_id": forked, "forked_from": job_id, "from_step": from_})
    else:
        print(forked)


def diff(before: JobArgument, after: JobArgument, json: JsonOption = False, dsn: DsnOption = None) -> None:
    """Show how the outputs and the costs of two jobs differ."""

    async def read() -> JobsDiff:
        async with open_store(dsn) as app:
            return await app.client.diff(before, after)

    found = run_async(read())
    if json:
        print_json({"steps": found.steps, "before": found.before, "after": found.after})
        return
    rows = [
        (step, one.path or "(all)", one.what, _shorten(one.before), _shorten(one.after))
        for step, differences in found.steps.items()
        for one in differences
    ]
    if rows:
        print_table(("step", "path", "what", "before", "after"), rows)
        print()
    columns = ("job_id", "calls", "tokens_in", "tokens_out", "cost_usd", "taken_over_usd")
    print_table(columns, ([side[name] for name in columns] for side in (found.before, found.after)))


def runs(job_id: JobArgument, json: JsonOption = False, dsn: DsnOption = None) -> None:
    """List the jobs that a job came of and that came of it."""

    async def read() -> list[Record]:
        async with open_store(dsn) as app:
            return await app.client.runs(job_id)

    rows = run_async(read())
    if json:
        print_json([dict(row) for row in rows])
    else:
        print_table(_RUN_COLUMNS, ([row[name] for name in _RUN_COLUMNS] for row in rows))


def migrate(
    job_id: Annotated[UUID | None, typer.Argument(metavar="[JOB_ID]")] = None,
    pipeline: Annotated[
        str | None, typer.Option(help="All jobs of this pipeline that wait for a worker of an older version.")
    ] = None,
    version: VersionOption = None,
    app: AppOption = None,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Move a job, or all that are blocked, to a newer version by its up-casters."""
    if (job_id is None) is (pipeline is None):
        raise ConfigError("rkyc jobs migrate needs a JOB_ID, or --pipeline NAME for all that are blocked")

    async def act() -> dict[str, Any]:
        async with open_store(dsn) as store:
            if job_id is not None:
                registry = await _load_registry(store, job_id, app)
                moved = await store.client.migrate(job_id, registry, version=version, by=name_actor())
                return {"job_id": job_id, "version": moved}
            registry = load_pipelines(str(pipeline), app or ())
            count = await store.client.migrate_all(str(pipeline), registry, version=version, by=name_actor())
            return {"pipeline": pipeline, "moved": count}

    said = run_async(act())
    if json:
        print_json(said)
    elif job_id is not None:
        print(f"{job_id} is of version {said['version']} now")
    else:
        print(f"{said['moved']} jobs of {pipeline} moved")


@program.command()
def rerun(
    job_id: JobArgument,
    changed: Annotated[
        bool, typer.Option("--changed", help="What was declared otherwise since, and all that follows it.")
    ] = False,
    degraded: Annotated[bool, typer.Option("--degraded", help="Also what was done in part.")] = False,
    input: InputOption = None,
    version: VersionOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would run.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the new job to its end.")] = False,
    app: AppOption = None,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Run what changed of an ended job again, as a new job; the rest is taken over, and not paid again."""
    if not (changed or degraded or input is not None):
        raise ConfigError("rkyc rerun needs to be told what to run: --changed, --degraded or --input JSON")

    async def act() -> tuple[Rerun, Record | None]:
        async with open_store(dsn) as store:
            client = store.client
            rerun = await client.rerun(
                job_id,
                input=SAME if input is None else read_json_input(input),
                degraded=degraded,
                version=version,
                registry=await _load_registry(store, job_id, app),
                dry_run=dry_run,
                by=name_actor(),
            )
            if not wait or rerun.job_id is None:
                return rerun, None
            return rerun, await follow_job(client, rerun.job_id, choose_view())

    rerun, ended = run_async(act())
    if json:
        spent = {} if ended is None else {"status": ended["status"], "spent_usd": ended["cost_usd"] or 0}
        names = Rerun.__slots__
        print_json({"rerun_of": job_id, **{name: getattr(rerun, name) for name in names}, **spent})
    else:
        _print_rerun(rerun, ended)
    if ended is not None and ended["status"] != "completed":
        raise typer.Exit(EXIT_FAILED)


def _print_rerun(rerun: Rerun, ended: Record | None) -> None:
    for step in rerun.again:
        say(one_line(f"runs {step}: {rerun.reasons[step]}"))
    say(f"keeps {', '.join(rerun.kept) or 'nothing'}")
    say(
        f"the job cost {rerun.before_usd:.4f} USD; what runs again cost {rerun.again_usd:.4f} of it, "
        f"{rerun.saved_usd:.4f} USD and {rerun.saved_calls} calls are saved"
    )
    if ended is not None:
        say(f"{ended['status']}, and cost {float(ended['cost_usd'] or 0):.4f} USD")
    if rerun.job_id is not None:
        print(rerun.job_id)
    elif not rerun.again:
        say("nothing changed: no job was made")


async def _load_registry(store: App, job_id: UUID, apps: list[str] | None) -> Registry:
    """Import the pipeline of a job where it is known here: what its steps saved may have to be carried over."""
    job = await store.client.get(job_id)
    return load_pipelines(job["pipeline"], apps or ())


def _read_output(given: str) -> tuple[str, Any]:
    step, sign, text = given.partition("=")
    if not sign:
        raise ConfigError(f"--set {given}: expected STEP=JSON, such as fetch='{{\"n\": 1}}'")
    return step, read_json_input(text, f"--set {step}")


def _shorten(value: Any) -> str:
    text = one_line(show(value)) if not isinstance(value, Mapping | list) else f"({len(value)} inside)"
    return text if len(text) <= _VALUE_CHARS_MAX else text[:_VALUE_CHARS_MAX] + "…"
