"""Circuit breakers that the whole fleet shares: whom nobody asks for a while, because the last calls failed.

Closed, open for a pause, then half-open: one caller probes, and its answer closes the breaker or opens it for longer.
Source: M. Nygard, "Release It!", 2nd ed., chapter 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rkyc.store.pool import Connection, fetch, fetch_row, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """Opens after so many failures in a row, each within `window_s` of the one before; times in seconds.

    The pause doubles with each probe that fails, up to `pause_s_max`. A probe that gives no answer within `probe_s`
    is another one's turn.
    """

    failures_max: int = 5
    window_s: float = 60.0
    pause_s: float = 10.0
    pause_s_max: float = 300.0
    probe_s: float = 180.0


@dataclass(frozen=True, slots=True)
class BreakerState:
    """Whether the caller may ask: `wait_s` is None, or how long to leave it; `is_probe`: everyone waits for its answer."""

    wait_s: float | None
    is_probe: bool = False


async def ask_breaker(
    conn: Connection, name: str, policy: BreakerPolicy, now: datetime | None = None
) -> BreakerState:
    """Say whether a call may be made now."""
    row = await fetch_row(conn, _SQL["ask_breaker"], name=name, probe_s=policy.probe_s, now=now)
    if row is None or row["is_probe"]:
        return BreakerState(None, row is not None)
    return BreakerState(row["wait_s"])


async def note_failure(
    conn: Connection, name: str, policy: BreakerPolicy, *, is_probe: bool, now: datetime | None = None
) -> bool:
    """Count a failure; True: the breaker is open now."""
    is_open: bool = await fetch_value(
        conn,
        _SQL["note_failure"],
        name=name,
        is_probe=is_probe,
        failures_max=policy.failures_max,
        window_s=policy.window_s,
        pause_s=policy.pause_s,
        pause_s_max=policy.pause_s_max,
        now=now,
    )
    return is_open


async def note_success(conn: Connection, name: str, *, is_probe: bool) -> None:
    """Count from zero again; the answer to a probe closes the breaker."""
    await fetch(conn, _SQL["note_success"], name=name, is_probe=is_probe)


async def close_breaker(conn: Connection, name: str) -> bool:
    """Forget the failures of a provider; False: there were none."""
    return bool(await fetch(conn, _SQL["close_breaker"], name=name))
