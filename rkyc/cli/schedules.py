"""`rkyc schedules`: jobs by the clock; list, add, run now, pause, resume, remove."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, Any, TypeAlias
from uuid import UUID

import typer

from rkyc.cli.options import DsnOption, JsonOption, make_program, read_json_input
from rkyc.cli.output import print_json, print_table, say
from rkyc.cli.session import name_actor, open_store, run_async
from rkyc.engine.schedules import Schedules
from rkyc.flow.schedule import Schedule
from rkyc.store.pool import Record

_COLUMNS = ("name", "pipeline", "when", "time_zone", "paused", "last_fire", "next_fire", "last_error")

NameArgument: TypeAlias = Annotated[str, typer.Argument(metavar="NAME")]

program = make_program(no_args_is_help=True, help="Jobs by the clock: list, add, run, pause, resume, remove.")


class CatchUp(StrEnum):
    NONE = "none"
    LAST = "last"
    ALL = "all"


class Overlap(StrEnum):
    SKIP = "skip"
    QUEUE = "queue"
    CANCEL = "cancel"
    ALLOW = "allow"


@program.command("list")
def list_(json: JsonOption = False, dsn: DsnOption = None) -> None:
    """List the schedules with their next tick."""
    rows: list[Record] = _act(dsn, lambda schedules: schedules.list())
    if json:
        print_json([dict(row) for row in rows])
    elif rows:
        shown = ({**row, "when": row["cron"] or f"every {row['interval_s']:g} s"} for row in rows)
        print_table(_COLUMNS, ([row[name] for name in _COLUMNS] for row in shown))
    else:
        say("no schedule: `rkyc schedules add` makes one, or Registry(schedules=[…])")


@program.command()
def add(
    name: NameArgument,
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE")],
    cron: Annotated[str | None, typer.Option(help="Five fields, such as '30 6 * * mon-fri'.")] = None,
    every: Annotated[float | None, typer.Option(help="Each so many seconds.", metavar="SECONDS")] = None,
    time_zone: Annotated[str, typer.Option(help="Of the cron expression.")] = "UTC",
    input: Annotated[str, typer.Option(help="The jobs' input: JSON, or @FILE.", metavar="JSON")] = "{}",
    lane: Annotated[str, typer.Option(help="Where the jobs run.")] = "default",
    catch_up: Annotated[CatchUp, typer.Option(help="Ticks that passed while nobody ran.")] = CatchUp.LAST,
    catch_up_max: Annotated[int, typer.Option(help="At most so many of them.")] = 100,
    overlap: Annotated[Overlap, typer.Option(help="While the job before runs.")] = Overlap.SKIP,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Add a schedule."""
    schedule = Schedule(
        name,
        pipeline,
        read_json_input(input),
        cron=cron,
        interval_s=every,
        time_zone=time_zone,
        lane=lane,
        catch_up=catch_up.value,
        catch_up_max=catch_up_max,
        overlap=overlap.value,
    )

    async def act(schedules: Schedules) -> Record:
        await schedules.add(schedule, by=name_actor())
        return next(row for row in await schedules.list() if row["name"] == name)

    row = _act(dsn, act)
    if json:
        print_json(dict(row))
    else:
        print(f"{name} runs next at {row['next_fire'].isoformat(timespec='seconds')}")


@program.command()
def run(name: NameArgument, json: JsonOption = False, dsn: DsnOption = None) -> None:
    """Start a job of a schedule now and print its id."""
    job_id: UUID = _act(dsn, lambda schedules: schedules.run(name, by=name_actor()))
    if json:
        print_json({"name": name, "job_id": job_id})
    else:
        print(job_id)


@program.command()
def pause(name: NameArgument, json: JsonOption = False, dsn: DsnOption = None) -> None:
    """Let the ticks of a schedule pass until it is resumed."""
    _act(dsn, lambda schedules: schedules.pause(name, by=name_actor()))
    _say_done(name, "paused", json)


@program.command()
def resume(name: NameArgument, json: JsonOption = False, dsn: DsnOption = None) -> None:
    """Let a schedule go on at its next tick."""
    _act(dsn, lambda schedules: schedules.resume(name, by=name_actor()))
    _say_done(name, "resumed", json)


@program.command()
def remove(name: NameArgument, json: JsonOption = False, dsn: DsnOption = None) -> None:
    """Remove a schedule; its jobs stay."""
    _act(dsn, lambda schedules: schedules.remove(name, by=name_actor()))
    _say_done(name, "removed", json)


def _act(dsn: str | None, act: Callable[[Schedules], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with open_store(dsn) as app:
            return await act(app.client.schedules)

    return run_async(run())


def _say_done(name: str, done: str, json: bool) -> None:
    if json:
        print_json({"name": name, "done": done})
    else:
        print(f"{name} {done}")
