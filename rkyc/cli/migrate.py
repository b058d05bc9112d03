"""`rkyc migrate`: bring the schema `rkyc` up to date, or print how an owner of the database may do it.

Every command that opens the store does so too; this one is for those who want it done beforehand.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rkyc.cli.options import DsnOption, JsonOption, make_program
from rkyc.cli.output import print_json
from rkyc.cli.session import open_store, run_async
from rkyc.store.migrate import read_migrations, write_script

program = make_program()


@program.command()
def migrate(
    sql: Annotated[
        bool, typer.Option("--sql", help="Print all migrations as a script for psql; touch nothing.")
    ] = False,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Apply the migrations that the database lacks."""
    if sql:
        sys.stdout.write(write_script())
        return
    run_async(_open(dsn))
    version = read_migrations()[-1].number
    if json:
        print_json({"version": version})
    else:
        print(f"the schema rkyc is at version {version}")


async def _open(dsn: str | None) -> None:
    async with open_store(dsn):
        pass
