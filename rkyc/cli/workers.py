"""`rkyc workers`: the processes that run jobs, as the database knows them."""

from __future__ import annotations

from typing import Annotated

import typer

from rkyc.cli.options import DsnOption, JsonOption, make_program
from rkyc.cli.output import print_rows
from rkyc.cli.session import open_store, run_async
from rkyc.store.pool import Record
from rkyc.store.queue.overview import list_workers

_COLUMNS = ("worker", "version", "lanes", "slots", "busy", "started_at", "beat_at", "alive")

program = make_program()


@program.command()
def workers(
    all: Annotated[bool, typer.Option("--all", help="Show those that ended, too.")] = False,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """List the processes that run jobs."""
    rows = run_async(_list(dsn, all))
    print_rows(_COLUMNS, rows, is_json=json, empty="no worker is alive: `rkyc serve` starts one")


async def _list(dsn: str | None, all: bool) -> list[Record]:
    async with open_store(dsn) as app, app.pool.connection() as conn:
        return await list_workers(conn, all=all)
