"""What the routes work with: made once by `app`, handed in whole, found by its key.

The routes know no domain. What a pipeline does with its input before it is enqueued (`Intake`), and how
a report is made (`Report`), comes in as functions by the pipeline's name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

from aiohttp import web

from rkyc.api.event_feed import EventFeed
from rkyc.api.hints import Hints
from rkyc.api.token_feed import TokenFeed
from rkyc.engine.client import Client
from rkyc.flow.pipeline import Registry
from rkyc.store.pool import Pool
from rkyc.telemetry.metrics import Metrics

# (input as sent) -> (input as enqueued, metadata of the job).
Intake: TypeAlias = Callable[[Any], Awaitable[tuple[Any, dict[str, Any]]]]
# (job id, "html", "md" or "json") -> the document.
RenderReport: TypeAlias = Callable[[UUID, str], Awaitable[bytes | str]]


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """Limits in bytes, times in seconds."""

    body_bytes_max: int = 2_000_000
    upload_bytes_max: int = 52_428_800
    uploads_max: int = 4
    sse_clients_max: int = 5000
    ping_s: float = 15.0
    look_s: float = 1.0
    direct_dsn: str | None = None
    hook_secret: str | None = field(default=None, repr=False)
    version: str = ""


@dataclass(frozen=True, slots=True)
class Services:
    """`find_obstacle` says in a word why this process should get no requests now, or None."""

    client: Client
    pool: Pool
    metrics: Metrics
    registry: Registry
    hints: Hints
    feed: EventFeed
    tokens: TokenFeed
    options: ApiOptions = field(default_factory=ApiOptions)
    intakes: Mapping[str, Intake] = field(default_factory=dict)
    reports: Mapping[str, RenderReport] = field(default_factory=dict)
    find_obstacle: Callable[[], str | None] = lambda: None


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
