"""Schedules: when jobs start by the clock. Pure: the caller brings the time.

A schedule has ticks: the instants that its cron expression or its interval names. Each tick starts one
job in the whole fleet. `decide_firing` says which ticks are to be started now and when to look again;
`choose_starts` what becomes of them beside a job of the same schedule that has not ended.

Cron runs on the wall clock of its time zone, as Debian's cron does: a time that the clocks jump over in
spring runs right after the gap, one that comes twice in autumn runs the first time only; `*/15` and the
like go by real time. Intervals count from 1970-01-01 UTC, so that every process names the same ticks.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias, get_args

from cronsim import CronSim, CronSimError

from rkyc.errors import DefinitionError, OutputInvalidError
from rkyc.flow import payload
from rkyc.flow.envelope import refuse_envelopes

CatchUp: TypeAlias = Literal["none", "last", "all"]
Overlap: TypeAlias = Literal["skip", "queue", "cancel", "allow"]

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The library takes a sixth, of seconds.
CRON_FIELDS = 5
# Shorter ones are a loop, not a schedule. Seconds.
INTERVAL_S_MIN = 0.1
INTERVAL_S_MAX = 366 * 86_400.0
# The most ticks that one catching-up starts.
CATCH_UP_MAX = 1000
# A tick that is no older counts as on time: every process looks each five seconds at least. Seconds.
ON_TIME_S = 15.0
# How far back missed ticks are looked for at first; eight times as far until enough are found. Seconds.
_LOOK_BACK_S = 60.0


@dataclass(frozen=True, slots=True)
class Timing:
    """The ticks of a schedule: by `cron` on the wall clock of `time_zone`, or each `interval_s` seconds.

    Raises:
        DefinitionError: it names no ticks; says why.
    """

    cron: str | None = None
    interval_s: float | None = None
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        if (self.cron is None) == (self.interval_s is None):
            raise DefinitionError("a schedule has either cron or interval_s: give one of them")
        if self.interval_s is not None:
            is_number = isinstance(self.interval_s, int | float)
            if not is_number or not INTERVAL_S_MIN <= self.interval_s <= INTERVAL_S_MAX:
                raise DefinitionError(
                    f"interval_s {self.interval_s!r} can't be used: expected {INTERVAL_S_MIN:g} to {INTERVAL_S_MAX:g} seconds"
                )
            return
        _zone(self.time_zone)
        if not isinstance(self.cron, str):
            raise DefinitionError(
                f"cron {self.cron!r} can't be used: expected a text such as '30 6 * * mon-fri'"
            )
        try:
            first = next(_walk(self, _EPOCH), None)
        except CronSimError as error:
            raise DefinitionError(
                f"cron {self.cron!r} can't be used: {error}; expected five fields such as '30 6 * * mon-fri'"
            ) from error
        if first is None:
            raise DefinitionError(f"cron {self.cron!r} names no instant in fifty years")

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first tick later than an instant, in UTC; None: there is none in fifty years."""
        if self.interval_s is not None:
            step = timedelta(seconds=self.interval_s)
            return _EPOCH + ((instant - _EPOCH) // step + 1) * step
        return next(_walk(self, instant), None)

    def last_ticks(self, first: datetime, now: datetime, count: int) -> list[datetime]:
        """Return the last ticks from `first` (a tick) to `now`, both included: at most `count`, oldest first."""
        look_back = timedelta(seconds=_LOOK_BACK_S)
        while True:
            begin = max(first, now - look_back)
            ticks = self._ticks(begin - timedelta(microseconds=1), now, count)
            if len(ticks) >= count or begin == first:
                return ticks[-count:]
            look_back *= 8

    def _ticks(self, after: datetime, now: datetime, count: int) -> list[datetime]:
        if self.interval_s is not None:
            step = timedelta(seconds=self.interval_s)
            newest = (now - _EPOCH) // step
            oldest = max((after - _EPOCH) // step + 1, newest - count + 1)
            return [_EPOCH + number * step for number in range(oldest, newest + 1)]
        ticks = []
        for tick in _walk(self, after):
            if tick > now:
                break
            ticks.append(tick)
        return ticks


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DefinitionError(f"no time zone is called {name!r}: expected one such as Asia/Seoul") from error


def _walk(timing: Timing, after: datetime) -> Iterator[datetime]:
    """Yield the ticks of a cron expression later than an instant, each once."""
    assert timing.cron is not None
    for local in CronSim(timing.cron, after.astimezone(_zone(timing.time_zone))):
        tick = local.astimezone(UTC)
        # In the second of two equal hours, and for two times in one gap, the library names an instant again.
        if tick > after:
            yield tick
            after = tick


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Start a job of `pipeline` at every tick.

    `catch_up` says what becomes of ticks that passed while no process ran: `none` leaves them, `last` starts the
    newest, `all` starts each, of more than `catch_up_max` the newest. `overlap` says what happens while the
    schedule's job before has not ended: `skip` leaves the tick out, `queue` starts its job when the other has
    ended, `cancel` cancels the other, `allow` runs both.

    Raises:
        DefinitionError: it can't run as written.
    """

    name: str
    pipeline: str
    input: Any = field(default_factory=dict)
    cron: str | None = None
    interval_s: float | None = None
    time_zone: str = "UTC"
    lane: str = "default"
    catch_up: CatchUp = "last"
    catch_up_max: int = 100
    overlap: Overlap = "skip"
    timing: Timing = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DefinitionError(
                f"schedule name {self.name!r} can't be used: expected lower-case letters, digits, _ . -, at most 63"
            )
        if self.catch_up not in get_args(CatchUp) or self.overlap not in get_args(Overlap):
            raise DefinitionError(
                f"schedule {self.name}: catch_up {self.catch_up!r} with overlap {self.overlap!r} can't be used: "
                f"expected one of {', '.join(get_args(CatchUp))}, and one of {', '.join(get_args(Overlap))}"
            )
        if not 1 <= self.catch_up_max <= CATCH_UP_MAX:
            raise DefinitionError(
                f"schedule {self.name}: catch_up_max {self.catch_up_max} can't be used: expected 1 to {CATCH_UP_MAX}"
            )
        try:
            refuse_envelopes(payload.encode(self.input))
        except OutputInvalidError as error:
            raise DefinitionError(f"schedule {self.name}: its input can't be stored: {error}") from error
        object.__setattr__(self, "timing", Timing(self.cron, self.interval_s, self.time_zone))
        # Not of a timing: one that is stored with six goes on.
        if self.cron is not None and len(self.cron.split()) != CRON_FIELDS:
            raise DefinitionError(
                f"schedule {self.name}: cron {self.cron!r} can't be used: expected five fields such as '30 6 * * mon-fri'; "
                "interval_s starts jobs more often than each minute"
            )


@dataclass(frozen=True, slots=True)
class Firing:
    """Ticks to start, oldest first, and the next one, at which to look again (None: never)."""

    ticks: tuple[datetime, ...]
    next_at: datetime | None


def decide_firing(
    timing: Timing, *, due_at: datetime, now: datetime, catch_up: str, catch_up_max: int
) -> Firing:
    """Decide what is to be started of the ticks from `due_at`, the first that was not looked at, to `now`."""
    count = catch_up_max if catch_up == "all" else 1
    ticks = timing.last_ticks(due_at, now, count)
    if catch_up == "none":
        ticks = [tick for tick in ticks if (now - tick).total_seconds() <= ON_TIME_S]
    return Firing(tuple(ticks), timing.next_after(now))


def choose_starts(ticks: Sequence[datetime], overlap: str, *, is_busy: bool) -> Sequence[datetime]:
    """Return the ticks that start a job; `is_busy`: a job of the schedule has not ended."""
    if overlap == "skip":
        # The job of the first would still run when the next is due.
        return [] if is_busy else ticks[:1]
    if overlap == "cancel":
        # Each would be cancelled by the one after.
        return ticks[-1:]
    return ticks
