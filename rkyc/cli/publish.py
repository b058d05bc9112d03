"""`rkyc publish`: an event to all jobs that wait for its topic."""

from __future__ import annotations

from typing import Annotated

import typer

from rkyc.cli.options import DsnOption, JsonOption, make_program, read_json_input
from rkyc.cli.output import one_line, print_json
from rkyc.cli.session import name_actor, open_store, run_async

program = make_program()


@program.command()
def publish(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="What jobs wait for by ctx.wait_event.")],
    payload: Annotated[str, typer.Argument(metavar="[JSON|@FILE]", help="What they are told.")] = "null",
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Publish an event to all jobs that wait for its topic; that none does is no error."""
    value = read_json_input(payload, "JSON")

    async def act() -> int:
        async with open_store(dsn) as app:
            return await app.client.publish(topic, value, source="cli", by=name_actor())

    woken = run_async(act())
    if json:
        print_json({"topic": topic, "woken": woken})
    else:
        print(one_line(f"{topic} published: {woken} waiting task{'' if woken == 1 else 's'} woken"))
