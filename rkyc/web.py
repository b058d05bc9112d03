"""Builds the web application of a process from its app and its worker.

It listens on the loopback alone: there are no API keys yet, and whoever reaches the port may do all.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import resource
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from rkyc import __version__
from rkyc.api.event_feed import EventFeed
from rkyc.api.hints import Hints
from rkyc.api.origin import is_loopback
from rkyc.api.server import make_application
from rkyc.api.services import ApiOptions, Intake, RenderReport, Services
from rkyc.api.token_feed import TokenFeed
from rkyc.app import App
from rkyc.engine.worker import Worker
from rkyc.errors import ConfigError

_KYC = "kyc"
# How long requests get to end when the process goes. Event streams end at once. Seconds.
_END_S = 3.0
# Thousands of streams come back at once when a process goes; whoever finds the queue full waits for seconds.
_BACKLOG = 4096
# Files beside the clients of streams: connections of the database and of other requests, children, documents.
_OTHER_FILES = 1024


def build_web(app: App, worker: Worker | None, *, host: str, port: int = 0) -> web.Application:
    """Return the application to serve at `host`; without a worker it only takes and shows jobs.

    Raises:
        ConfigError: the host is reached by others.
    """
    require_loopback(host, port)
    settings = app.settings
    options = ApiOptions(
        body_bytes_max=settings.body_bytes_max,
        upload_bytes_max=settings.upload_bytes_max,
        sse_clients_max=settings.sse_clients_max,
        direct_dsn=settings.direct_dsn,
        hook_secret=settings.hook_secret.get_secret_value() if settings.hook_secret else None,
        version=__version__,
    )
    hints = Hints(pool=app.pool, direct_dsn=options.direct_dsn)
    intakes, reports = _find_domains(app)
    return make_application(
        Services(
            client=app.client,
            pool=app.pool,
            metrics=app.metrics,
            registry=app.registry,
            hints=hints,
            feed=EventFeed(
                pool=app.pool, hints=hints, show_payload=app.client.show_payload, look_s=options.look_s
            ),
            tokens=TokenFeed(pool=app.pool, hints=hints, look_s=options.look_s, ping_s=options.ping_s),
            options=options,
            intakes=intakes,
            reports=reports,
            find_obstacle=lambda: _find_obstacle(worker),
        )
    )


@contextlib.asynccontextmanager
async def serve_web(app: App, worker: Worker | None, *, host: str, port: int) -> AsyncIterator[str]:
    """Serve the application while the block runs; yield its address. Port 0 takes a free one.

    Enter it before the worker runs and leave it after the drain: `/readyz` tells of both.

    Raises:
        ConfigError: the port is taken, or the host is reached by others.
    """
    application = build_web(app, worker, host=host, port=port)
    _allow_files(app.settings.sse_clients_max)
    # Without an access log: what matters is logged as events.
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_END_S)
    await runner.setup()
    try:
        await _listen(runner, host, port)
        bound_host, bound_port = runner.addresses[0][:2]
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        yield f"http://{shown}:{bound_port}"
    finally:
        await runner.cleanup()


def _allow_files(clients: int) -> None:
    """Raise the soft limit of open files for so many clients, as far as the hard one lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = clients + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host.strip("[]"), port, backlog=_BACKLOG).start()
    except OSError as error:
        reason = (
            "is taken" if error.errno == errno.EADDRINUSE else f"can't be used ({error.strerror or error})"
        )
        raise ConfigError(
            f"port {port} on {host} {reason}: choose another one with --port, or any free one with --port 0"
        ) from error


def require_loopback(host: str, port: int = 0) -> None:
    """Refuse an address that others reach.

    Raises:
        ConfigError: with what to do instead.
    """
    if not is_loopback(host):
        target = f"127.0.0.1:{port}" if port else "it"
        raise ConfigError(
            f"--host {host}: the API has no keys yet, so it listens on 127.0.0.1 or ::1 alone: "
            f"put a reverse proxy that checks who asks in front of {target}"
        )


def _find_domains(app: App) -> tuple[Mapping[str, Intake], Mapping[str, RenderReport]]:
    """Return what domains add to the API, by pipeline; nothing where none of theirs is served."""
    if all(pipeline.name != _KYC for pipeline in app.registry):
        return {}, {}
    # Not at the top: it needs extras that the core runs without.
    analysis: Any = importlib.import_module("rkyc.analysis")
    intake = analysis.DossierIntake(pool=app.pool, root=app.settings.dossier_root)
    return {_KYC: intake}, {_KYC: analysis.AnalysisReports(client=app.client, pool=app.pool)}


def _find_obstacle(worker: Worker | None) -> str | None:
    if worker is None:
        return None
    if worker.is_draining:
        return "draining: the process is about to end"
    return None if worker.ready.is_set() else "starting: the worker is not ready"
