"""`rkyc serve`: a worker and the web app in one process and one loop, until stopped.

The first line on stdout, when it is ready, is JSON; the log goes to stderr. SIGTERM or SIGINT drains:
`/readyz` turns 503, nothing new is claimed, running steps finish within `--grace` or are given back
uncharged. A second SIGINT ends at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Annotated, Any

import orjson
import typer

from rkyc.app import load_registry, open_app, tune_collector
from rkyc.cli.options import AppOption, DsnOption, make_program
from rkyc.cli.pause import pause_in
from rkyc.cli.processes import SuspectProcesses, end_with_parent, wait_until_unneeded
from rkyc.cli.session import hide_password, read_settings, run_async
from rkyc.cli.working import working
from rkyc.config import Settings
from rkyc.errors import InvalidInputError, UnknownLaneError
from rkyc.flow.numbers import PREFETCH_EXPECTED, parse_prefetch
from rkyc.flow.pipeline import Registry

program = make_program()


@program.command()
def serve(
    host: Annotated[str, typer.Option(help="Where the web app listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8080,
    app: AppOption = None,
    only_app: Annotated[bool, typer.Option("--only-app", help="Without the built-in pipelines.")] = False,
    lanes: Annotated[
        str | None, typer.Option(help="Claim from these alone. [default: all]", metavar="LANE,…")
    ] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Tasks at once. [default: RKYC_SLOTS]")] = None,
    prefetch: Annotated[
        str | None, typer.Option(help="Tasks claimed beyond the free slots.", metavar="N|LANE=N,…")
    ] = None,
    no_api: Annotated[bool, typer.Option("--no-api", help="No web app.")] = False,
    dsn: DsnOption = None,
    grace: Annotated[
        float | None, typer.Option(min=0, help="Seconds to finish in at the end. [default: RKYC_GRACE_S]")
    ] = None,
    suspects: Annotated[int | None, typer.Option(hidden=True, metavar="PARENT_PID")] = None,
    pause: Annotated[str | None, typer.Option("--pause-in", hidden=True, metavar="STEP:SECONDS")] = None,
) -> None:
    """Run jobs, and the web app, until stopped."""
    settings = read_settings(is_quiet=False)
    settings.require_dsn(dsn)
    registry = load_registry(app or (), only_app=only_app)
    if pause is not None:
        registry = pause_in(registry, pause)
    ahead = None if prefetch is None else _read_prefetch(prefetch, registry)
    given = {"slots": slots, "prefetch": ahead, "grace_s": grace, "lanes": _read_lanes(lanes, registry)}
    options = {name: value for name, value in given.items() if value is not None}
    if suspects is not None:
        end_with_parent()
        run_async(_serve_suspects(settings, dsn, registry, {**options, "slots": 1}, suspects))
        return
    arguments = [argument for spec in app or () for argument in ("--app", spec)]
    arguments += ["--only-app"] if only_app else []
    arguments += ["--lanes", lanes] if lanes is not None else []
    arguments += ["--grace", str(grace)] if grace is not None else []
    children = SuspectProcesses(arguments, dsn=dsn, grace_s=settings.grace_s if grace is None else grace)
    address = None if no_api else (host, port)
    if address is not None:
        # Here, for a worker without the web app needs none of its modules: a sixth of the memory.
        from rkyc.web import require_loopback

        require_loopback(*address)
    run_async(_serve(settings, dsn, registry, options, children, address))


async def _serve(
    settings: Settings,
    dsn: str | None,
    registry: Registry,
    options: Mapping[str, Any],
    children: SuspectProcesses,
    address: tuple[str, int] | None,
) -> None:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(open_app(settings, dsn=dsn, registry=registry))
        stack.push_async_callback(children.close)
        worker = app.make_worker(on_suspects=children.start_one, **options)
        url = None
        if address is not None:
            from rkyc.web import serve_web

            # Before the worker: a taken port ends the start before anything is claimed. It is left after
            # the drain, of which /readyz tells.
            url = await stack.enter_async_context(serve_web(app, worker, host=address[0], port=address[1]))
        work = await stack.enter_async_context(working(worker))
        tune_collector()
        ready = {"event": "ready", "url": url, "worker": worker.name, "dsn": hide_password(app.pool.dsn)}
        print(orjson.dumps({**ready, "pid": os.getpid()}).decode(), flush=True)
        await work.until()
        # The children drain while this process does.
        children.stop()


async def _serve_suspects(
    settings: Settings, dsn: str | None, registry: Registry, options: Mapping[str, Any], parent_pid: int
) -> None:
    """Run suspects one at a time, until there is none left."""
    async with open_app(settings, dsn=dsn, registry=registry) as app:
        worker = app.make_worker(for_suspects=True, **options)
        async with working(worker) as work:
            await work.until(wait_until_unneeded(app.pool, worker, parent_pid))


def _read_prefetch(given: str, registry: Registry) -> int | dict[str, int]:
    """Return what --prefetch says.

    Raises:
        InvalidInputError, UnknownLaneError
    """
    try:
        ahead: int | dict[str, int] = parse_prefetch(given)
    except ValueError:
        raise InvalidInputError(f"--prefetch {given}: expected {PREFETCH_EXPECTED}") from None
    if isinstance(ahead, dict):
        _require_lanes(ahead, registry, f"--prefetch {given}")
    return ahead


def _read_lanes(given: str | None, registry: Registry) -> tuple[str, ...] | None:
    """Return the lanes to claim from.

    Raises:
        UnknownLaneError
    """
    if given is None:
        return None
    lanes = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    _require_lanes(lanes, registry, f"--lanes {given}")
    return lanes or None


def _require_lanes(names: Iterable[str], registry: Registry, said: str) -> None:
    for name in names:
        if name not in registry.lanes:
            raise UnknownLaneError(
                f"{said}: no lane is called {name!r}: expected some of {', '.join(registry.lanes)}"
            )
