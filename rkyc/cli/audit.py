"""`rkyc audit`: who did what, by whichever door: cancels, retries, requeues, …"""

from __future__ import annotations

from typing import Annotated

import typer

from rkyc.cli.options import DsnOption, JsonOption, make_program
from rkyc.cli.output import print_rows
from rkyc.cli.session import open_store, run_async
from rkyc.store.pool import Record
from rkyc.store.queue.audit import list_entries

_COLUMNS = ("id", "at", "who", "action", "kind", "object", "details")

program = make_program()


@program.command()
def audit(
    object: Annotated[
        str | None, typer.Argument(metavar="OBJECT", help="Done to this one, such as a job id.")
    ] = None,
    who: Annotated[str | None, typer.Option(help="Done by this one alone.")] = None,
    action: Annotated[str | None, typer.Option(help="This alone, such as job.cancel.")] = None,
    before: Annotated[int | None, typer.Option(metavar="ID", help="Older than this entry.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """List what people did, newest first."""

    async def read() -> list[Record]:
        async with open_store(dsn) as app, app.pool.connection() as conn:
            return await list_entries(conn, object=object, who=who, action=action, before=before, limit=limit)

    rows = run_async(read())
    print_rows(_COLUMNS, rows, is_json=json, empty="no entry")
