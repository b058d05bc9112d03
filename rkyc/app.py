"""The composition root: from settings to a pool, providers, a registry, a worker and the web app.

The only place that knows everyone. Nobody below reads the environment or builds another's parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rkyc import __version__
from rkyc.config import Settings
from rkyc.engine.client import Client
from rkyc.errors import ConfigError, DefinitionError, EmbeddedError
from rkyc.flow.envelope import Codec
from rkyc.flow.pipeline import Registry
from rkyc.flow.retry import UNDECLARED_RETRY, UNDECLARED_TIMEOUTS, RetryPolicy, Timeouts
from rkyc.store.embedded import ensure_running, start_embedded, stop_embedded
from rkyc.store.migrate import migrate
from rkyc.store.pool import Pool
from rkyc.store.queue.pipelines import register_pipelines
from rkyc.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from rkyc.engine.worker import Worker, WorkerOptions

BUILT_IN = "rkyc.pipelines.kyc:registry"
# Two starts of a private server in one second would only get in each other's way.
REVIVE_PAUSE_S = 1.0


@dataclass(slots=True)
class App:
    """What a command works with; made by `open_app`."""

    settings: Settings
    pool: Pool
    client: Client
    metrics: Metrics
    registry: Registry
    is_embedded: bool
    codec: Codec | None = None

    def make_worker(self, *, on_suspects: Callable[[], None] | None = None, **changes: Any) -> Worker:
        """Make a worker for the app's registry; changes are fields of `WorkerOptions`."""
        # Here: a third of what a command imports that only asks.
        from rkyc.engine.worker import Worker

        options = replace(worker_options(self.settings), codec=self.codec, **changes)
        resources = make_resources(self.settings, self.pool, self.registry)
        return Worker(
            pool=self.pool,
            registry=self.registry,
            resources=resources,
            metrics=self.metrics,
            options=options,
            on_suspects=on_suspects,
        )


@contextlib.asynccontextmanager
async def open_app(
    settings: Settings, *, dsn: str | None = None, registry: Registry | None = None
) -> AsyncIterator[App]:
    """Open the store (the embedded one without a DSN), bring its schema up to date, close it at the end.

    Raises:
        StoreError, ConfigError: with what to do.
    """
    dsn = settings.require_dsn(dsn)
    is_embedded = dsn is None
    if dsn is None:
        server = await start_embedded(settings.data_dir)
        dsn = server.dsn
    try:
        pool = await Pool.open(
            dsn, size_max=settings.pool_size, statement_cache_size=settings.statement_cache
        )
        if is_embedded:
            pool.revive = _reviver(settings.data_dir)
        try:
            async with pool.connection() as conn:
                await migrate(conn)
                if registry is not None:
                    # Known before any worker runs, so that a job may be submitted first.
                    await register_pipelines(conn, registry)
            codec = make_codec(settings, pool)
            client = Client(pool=pool, codec=codec)
            yield App(
                settings,
                pool,
                client,
                Metrics(),
                with_defaults(registry or Registry(), settings),
                is_embedded,
                codec,
            )
            await client.aclose()
        finally:
            await pool.close()
    finally:
        if is_embedded:
            with contextlib.suppress(EmbeddedError):
                await stop_embedded(settings.data_dir)


def make_codec(settings: Settings, pool: Pool) -> Codec | None:
    """Return what seals payloads, where the settings ask for it.

    Raises:
        ConfigError: without a key, or without the package that seals.
    """
    if not settings.seal_payloads:
        return None
    if settings.encryption_key is None:
        raise ConfigError("RKYC_SEAL_PAYLOADS needs ENCRYPTION_KEY: make one with openssl rand -hex 32")
    try:
        crypto = importlib.import_module("rkyc.store.crypto")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "RKYC_SEAL_PAYLOADS needs the package cryptography: install rkyc[crypto]"
        ) from error

    async def give_pool() -> Pool:
        return pool

    older = [key.get_secret_value() for key in settings.encryption_keys.values()]
    codec: Codec = crypto.TenantCodec(
        give_pool, master=settings.encryption_key.get_secret_value(), older=older
    )
    return codec


def tune_collector() -> None:
    """Let the garbage collector look less often, and never at what was loaded at the start.

    A worker holds thousands of tasks whose objects live long: looking through them all at the default
    pace took up to half of its time (bench: 5,000 waiting jobs in 5.5 s instead of 10.3 s).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _reviver(data_dir: Path) -> Callable[[], Any]:
    """Return what brings a killed private server back, at most once a second."""
    lock = asyncio.Lock()
    tried_at = 0.0

    async def revive() -> None:
        nonlocal tried_at
        async with lock:
            if time.monotonic() - tried_at < REVIVE_PAUSE_S:
                return
            with contextlib.suppress(EmbeddedError):
                await ensure_running(data_dir)
            tried_at = time.monotonic()

    return revive


def worker_options(settings: Settings) -> WorkerOptions:
    """Map the settings to what a worker takes."""
    from rkyc.engine.upkeep import UpkeepOptions
    from rkyc.engine.worker import WorkerOptions

    return WorkerOptions(
        slots=settings.slots,
        threads=settings.threads,
        prefetch=settings.prefetch,
        limits={"llm": 10, "search": 5, **settings.limits},
        grace_s=settings.grace_s,
        save_limit_s=settings.save_timeout_s,
        blocked_after_s=settings.loop_blocked_s,
        direct_dsn=settings.direct_dsn,
        version=__version__,
        retention_days=settings.retention_days,
        upkeep=UpkeepOptions(
            beat_s=settings.beat_s,
            poll_s=settings.poll_s,
            absence_s=settings.presence_grace_s,
            frozen_after_s=settings.frozen_after_s,
            horizon_warning_s=settings.horizon_warning_s,
        ),
    )


def with_defaults(registry: Registry, settings: Settings) -> Registry:
    """Give the policy of the TASK_* settings to the steps that declare none."""
    delay_s, limit_s, soft_s = (
        settings.task_default_retry_delay,
        settings.task_time_limit,
        settings.task_soft_time_limit,
    )
    retry = RetryPolicy(max_attempts=settings.task_max_retries + 1)
    if delay_s is not None:
        retry = replace(retry, initial_s=delay_s, base=1.0, max_s=delay_s, jitter=False)
    timeouts = Timeouts(start_to_close=limit_s, soft=soft_s)
    if (retry, timeouts) == (UNDECLARED_RETRY, UNDECLARED_TIMEOUTS):
        return registry
    return registry.map_steps(lambda step: step.with_defaults(retry, timeouts))


def load_registry(specs: Sequence[str] = (), *, only_app: bool = False) -> Registry:
    """Import registries named `MODULE:REGISTRY` or `FILE.py:REGISTRY` beside the built-in one.

    Raises:
        ConfigError: a module or a name that is not there.
        DefinitionError: a pipeline that can't run as written.
    """
    if only_app and not specs:
        raise ConfigError("--only-app leaves nothing to serve: name a registry with --app MODULE:REGISTRY")
    # A user's module lies in the working folder, as with `python -m`.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    merged = Registry()
    for spec in ([] if only_app else [BUILT_IN]) + list(specs):
        merged = merged.merge(_import_registry(spec))
    return merged


def _import_registry(spec: str) -> Registry:
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise ConfigError(
            f"--app {spec}: expected MODULE:REGISTRY or FILE.py:REGISTRY, such as myflows:registry"
        )
    if module_name.endswith(".py"):
        module_name = _find_module(spec, Path(module_name))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name.startswith("rkyc.") and not missing.startswith("rkyc"):
            raise ConfigError(
                f"the built-in pipelines need {missing}: install rkyc[kyc], or serve yours alone with --only-app"
            ) from error
        raise ConfigError(
            f"--app {spec}: there is no module {missing} on the path: run it from the folder it lies in"
        ) from error
    found = getattr(module, name, None)
    if not isinstance(found, Registry):
        raise DefinitionError(f"--app {spec}: {name} is {type(found).__name__}, expected a rkyc.Registry")
    return found


def _find_module(spec: str, path: Path) -> str:
    """Put a file's folder on the path, for child processes too, and return the name of its module."""
    if not path.is_file() or not path.stem.isidentifier():
        raise ConfigError(
            f"--app {spec}: there is no file {path} that can be imported: its name must be one of Python's"
        )
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return path.stem


def make_resources(settings: Settings, pool: Pool, registry: Registry) -> dict[type, Any]:
    """Build what the registry's steps need, by type; vendors only where some step asks for one."""
    needs = {
        need for pipeline in registry for place in pipeline.graph.all_places for need in place.step.needs
    }
    resources: dict[type, Any] = {Pool: pool}
    if any(need.__module__.startswith("rkyc.providers") for need in needs):
        # Not at the top: the providers need extras that the core runs without.
        resources |= importlib.import_module("rkyc.vendors").build_providers(settings, pool)
    return resources
