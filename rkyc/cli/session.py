"""A command's life: settings, log, one event loop on uvloop, the open store.

The command line hands the environment to `load_settings` and reads none of it itself.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from rkyc.app import App, load_registry, open_app
from rkyc.config import Settings, load_settings
from rkyc.flow.pipeline import Registry
from rkyc.store.queue.pipelines import register_pipelines
from rkyc.telemetry.logs import setup_logger

T = TypeVar("T")
KYC = "kyc"


def read_settings(*, is_quiet: bool = True) -> Settings:
    """Read the settings and set up the log; a quiet command logs warnings only, unless told otherwise.

    Raises:
        ConfigError: a variable that can't be used, named.
    """
    settings = load_settings(os.environ)
    is_told = "log_level" in settings.model_fields_set
    setup_logger(
        level=settings.log_level if is_told or not is_quiet else "WARNING", log_format=settings.log_format
    )
    return settings


def make_runner() -> asyncio.Runner:
    """Return what runs coroutines on one loop, uvloop's where there is one."""
    if sys.platform == "win32":
        return asyncio.Runner()
    import uvloop

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end."""
    with make_runner() as runner:
        return runner.run(main)


@asynccontextmanager
async def open_store(dsn: str | None, registry: Registry | None = None) -> AsyncIterator[App]:
    """Open the database that the settings or `dsn` name, for a short command.

    Raises:
        ConfigError, StoreError: with what to do.
    """
    async with open_app(read_settings(), dsn=dsn, registry=registry) as app:
        yield app


def load_pipelines(pipeline: str, apps: Sequence[str]) -> Registry:
    """Import the registries in which a pipeline may be defined; none for one that only workers know."""
    if pipeline == KYC:
        return load_registry(apps)
    return load_registry(apps, only_app=True) if apps else Registry()


async def announce(app: App) -> None:
    """Make the pipelines of the app's registry known to the database, so that they can be enqueued."""
    async with app.pool.connection() as conn:
        await register_pipelines(conn, app.registry)


def name_actor() -> str:
    """Return who acts, for the audit trail: the account that runs the command, and its machine."""
    try:
        account = getpass.getuser()
    except (OSError, KeyError, ImportError):
        account = "unknown"
    return f"cli:{account}@{socket.gethostname()}"


def hide_password(dsn: str) -> str:
    """Return a DSN as it may be shown: user, place and database, without the password."""
    parts = urlsplit(dsn)
    login, at, place = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    query = [(name, value) for name, value in parse_qsl(parts.query) if "password" not in name]
    return parts._replace(netloc=f"{user}{at}{place}", query=urlencode(query, safe="/")).geturl()
