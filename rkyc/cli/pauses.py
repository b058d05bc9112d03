"""`rkyc lanes|pipelines|tenants pause|resume|list`: hold back all work of one, and let it go on."""

from __future__ import annotations

from typing import Annotated

import typer

from rkyc.cli.options import DsnOption, JsonOption, make_program
from rkyc.cli.output import print_json, print_rows
from rkyc.cli.session import name_actor, open_store, run_async
from rkyc.engine.pausing import PauseKind
from rkyc.store.pool import Record

_COLUMNS = ("name", "paused_by", "since", "reason")
NameArgument = Annotated[str, typer.Argument(metavar="NAME")]
ReasonOption = Annotated[str | None, typer.Option(help="Shown with the jobs that wait.")]


def make_pauses(kind: PauseKind) -> typer.Typer:
    """Return the group of commands for lanes, pipelines or tenants."""
    program = make_program(no_args_is_help=True, help=f"Pause a {kind}, or let it go on.")

    @program.command("pause", help=f"Start nothing more of a {kind}; what runs ends its step.")
    def pause(
        name: NameArgument, reason: ReasonOption = None, json: JsonOption = False, dsn: DsnOption = None
    ) -> None:
        async def act() -> bool:
            async with open_store(dsn) as app:
                return await app.client.pause_all(kind, name, reason, by=name_actor())

        _say(kind, name, "paused", run_async(act()), json)

    @program.command("resume", help=f"Let a {kind} go on.")
    def resume(name: NameArgument, json: JsonOption = False, dsn: DsnOption = None) -> None:
        async def act() -> bool:
            async with open_store(dsn) as app:
                return await app.client.resume_all(kind, name, by=name_actor())

        _say(kind, name, "resumed", run_async(act()), json)

    @program.command("list", help=f"List the {kind}s that are paused.")
    def list_(json: JsonOption = False, dsn: DsnOption = None) -> None:
        async def read() -> list[Record]:
            async with open_store(dsn) as app:
                return [row for row in await app.client.pauses() if row["kind"] == kind]

        rows = run_async(read())
        print_rows(_COLUMNS, rows, is_json=json, empty=f"no {kind} is paused")

    return program


def _say(kind: str, name: str, what: str, is_changed: bool, is_json: bool) -> None:
    if is_json:
        print_json({"kind": kind, "name": name, what: True, "changed": is_changed})
    else:
        print(f"{kind} {name} {what}" if is_changed else f"{kind} {name} was {what} before")
