"""`rkyc limits`: places, rates and breakers that hold starts and calls back; `close` lets a provider be asked again."""

from __future__ import annotations

from typing import Annotated

import typer

from rkyc.cli.options import DsnOption, JsonOption, make_program
from rkyc.cli.output import print_json, print_rows
from rkyc.cli.session import name_actor, open_store, run_async
from rkyc.store.pool import Record
from rkyc.store.queue.overview import list_limits

_COLUMNS = ("kind", "name", "used", "size", "waiting", "until")

program = make_program(
    no_args_is_help=True, help="Show what holds starts and calls back: places of limits, rates, breakers."
)


@program.command("list")
def list_(json: JsonOption = False, dsn: DsnOption = None) -> None:
    """List the limits; `used` of a breaker counts failures, `until` says when a rate or a breaker lets the next one in."""

    async def read() -> list[Record]:
        async with open_store(dsn) as app, app.pool.connection() as conn:
            return await list_limits(conn)

    rows = run_async(read())
    print_rows(
        _COLUMNS,
        rows,
        is_json=json,
        empty="no limit is known: a worker that serves steps with limits makes them known",
    )


@program.command()
def close(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER")],
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Let a provider that failed again and again be asked at once."""

    async def act() -> bool:
        async with open_store(dsn) as app:
            return await app.client.close_breaker(provider, by=name_actor())

    is_changed = run_async(act())
    if json:
        print_json({"breaker": provider, "changed": is_changed})
    else:
        print(f"{provider} is asked again" if is_changed else f"{provider} was not held back")
