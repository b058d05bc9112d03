"""`rkyc sql`: one statement on the database, or a loop of them, without psql.

It may only read, unless `--write` is given. In the loop a statement ends with `;`, and `\\q` or the end
of input leaves; a refused statement is told and the loop goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from rkyc.app import App
from rkyc.cli.options import DsnOption, JsonOption, make_program
from rkyc.cli.output import print_json, print_table, say
from rkyc.cli.session import make_runner, open_store
from rkyc.errors import DatabaseConnectionError, UsageError
from rkyc.store.console import Answer, run_statement

_LEAVE = ("\\q", "exit", "quit")

program = make_program()


@program.command()
def sql(
    statement: Annotated[str | None, typer.Argument(metavar="STATEMENT", help="Without one: a loop.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Let statements change the database.")] = False,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Ask the database, such as: rkyc sql 'select * from rkyc.job_status'."""
    with make_runner() as runner, _opened(runner, dsn) as app:
        if statement is not None:
            _print_answer(runner.run(_ask(app, statement, write)), json)
            return
        for typed in _read_statements():
            try:
                _print_answer(runner.run(_ask(app, typed, write)), json)
            except (UsageError, DatabaseConnectionError) as error:
                say(f"error: {error.message}")


@contextlib.contextmanager
def _opened(runner: asyncio.Runner, dsn: str | None) -> Iterator[App]:
    """Hold the store open over several runs of the loop: reading a line must not block it."""
    store = open_store(dsn)
    app = runner.run(store.__aenter__())
    try:
        yield app
    finally:
        runner.run(store.__aexit__(None, None, None))


async def _ask(app: App, statement: str, writes: bool) -> Answer:
    async with app.pool.connection() as conn:
        return await run_statement(conn, statement, writes=writes)


def _read_statements() -> Iterator[str]:
    """Yield what is typed or piped in, one statement at a time."""
    is_person = sys.stdin.isatty()
    lines: list[str] = []
    while True:
        try:
            line = input(("   … " if lines else "rkyc> ") if is_person else "")
        except EOFError:
            break
        if not lines and line.strip().lower() in _LEAVE:
            return
        if line.strip():
            lines.append(line)
        if lines and line.rstrip().endswith(";"):
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _print_answer(answer: Answer, is_json: bool) -> None:
    if is_json:
        print_json([dict(zip(answer.columns, row, strict=True)) for row in answer.rows])
    elif answer.columns:
        print_table(answer.columns, answer.rows)
        say(f"{len(answer.rows)} row{'' if len(answer.rows) == 1 else 's'}")
    else:
        say(answer.status)
