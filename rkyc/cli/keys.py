"""`rkyc keys`: the keys that seal tenants' payloads: list, rotate, erase."""

from __future__ import annotations

from typing import Annotated

import typer

from rkyc.cli.options import DsnOption, JsonOption, make_program
from rkyc.cli.output import print_json, print_table
from rkyc.cli.program import EXIT_FAILED
from rkyc.cli.session import name_actor, open_store, run_async
from rkyc.errors import ConfigError
from rkyc.store.pool import Record

_COLUMNS = ("tenant", "id", "master", "created_at")

program = make_program(
    no_args_is_help=True, help="List, rotate and erase the keys that seal tenants' payloads."
)


@program.command("list")
def list_(json: JsonOption = False, dsn: DsnOption = None) -> None:
    """List the tenants that have a key, and by which master key it is wrapped."""
    from rkyc.store.crypto import list_tenant_keys

    async def read() -> list[Record]:
        async with open_store(dsn) as app, app.pool.connection() as conn:
            return await list_tenant_keys(conn)

    rows = run_async(read())
    if json:
        print_json([dict(row) for row in rows])
    else:
        print_table(_COLUMNS, ([row[name] for name in _COLUMNS] for row in rows))


@program.command()
def rotate(json: JsonOption = False, dsn: DsnOption = None) -> None:
    """Wrap all tenants' keys anew by ENCRYPTION_KEY; older master keys are given as ENCRYPTION_KEY_V<n>."""
    from rkyc.store.crypto import TenantCodec

    async def act() -> int:
        async with open_store(dsn) as app:
            if not isinstance(app.codec, TenantCodec):
                raise ConfigError("keys rotate: set RKYC_SEAL_PAYLOADS=true and ENCRYPTION_KEY")
            return await app.codec.rotate(by=name_actor())

    number = run_async(act())
    if json:
        print_json({"rotated": number})
    else:
        print(f"{number} key(s) wrapped anew")


@program.command()
def erase(
    tenant: Annotated[str, typer.Argument()],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Delete a tenant's key: all that it sealed can never be read again."""
    from rkyc.store.crypto import erase_tenant

    if not yes:
        typer.confirm(f"All sealed payloads of {tenant} will be lost for good. Go on?", abort=True)

    async def act() -> bool:
        async with open_store(dsn) as app, app.pool.connection() as conn:
            return await erase_tenant(conn, tenant, by=name_actor())

    is_erased = run_async(act())
    if json:
        print_json({"tenant": tenant, "erased": is_erased})
    else:
        print(f"{tenant} erased" if is_erased else f"{tenant} has no key")
    raise typer.Exit(0 if is_erased else EXIT_FAILED)
