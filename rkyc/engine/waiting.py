"""What a step may wait for without a slot: a time, a signal to its job, an event of a topic.

What a wait gave is in the call journal before the body goes on, so that an attempt that begins again passes it:
its due time from the first look, a signal in the very commit that takes it. What has not come yet ends the
attempt by `Suspend`.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pydantic

from rkyc.engine.clock import DatabaseClock
from rkyc.engine.journal import StepJournal, rebuild
from rkyc.engine.leases import write_under_lease
from rkyc.engine.suspend import Suspend
from rkyc.errors import DefinitionError, SignalTimeoutError, ValidationError
from rkyc.flow import payload
from rkyc.flow.context import REFUSE
from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import signals, topics

# Ten years: longer waits are mistakes.
WAIT_S_MAX = 10 * 366 * 86_400.0
NAME_CHARS_MAX = 200


class StepWaits:
    """The waits of one attempt of one step."""

    def __init__(
        self,
        *,
        pool: Pool,
        clock: DatabaseClock,
        journal: StepJournal,
        claim: Claim,
        step: str,
        worker_id: int,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._journal = journal
        self._claim = claim
        self._step = step
        self._worker_id = worker_id
        # Topic -> the last event that a wait of this attempt got.
        self._seen: dict[str, int] = {}

    async def sleep(self, seconds: float | None, until: datetime | None, name: str) -> None:
        """Return when the time has come, which the first attempt decided."""
        key = self._journal.take_key(f"sleep:{_check_name(name)}")
        if (seconds is None) == (until is None):
            raise DefinitionError(
                f"step {self._step}: sleep takes either seconds or until: expected one of them"
            )
        due_at = await self._due_at(key, seconds, until)
        assert due_at is not None
        if self._clock.now() < due_at:
            raise Suspend("sleep", key, due_at, f"sleeping until {_show(due_at)}")

    async def wait_signal(self, name: str, timeout_s: float | None, default: Any, returns: Any) -> Any:
        """Return the payload of a signal that no other wait got, the default, or leave."""
        key = self._journal.take_key(f"signal:{_check_name(name)}")
        known = await self._journal.recall(key)
        text = known.text if known is not None else await self._take_signal(key, name)
        if text is None:
            due_at = await self._due_at(f"{key} until", timeout_s, None)
            if due_at is None or self._clock.now() < due_at:
                raise Suspend("signal", name, due_at, _waiting_for(f"signal {name}", due_at))
            text = await self._give_up(key, default)
        return self._read(text, f"signal {name}", returns)

    async def wait_event(
        self,
        topic: str,
        match: dict[str, Any] | None,
        timeout_s: float | None,
        default: Any,
        returns: Any,
        look_back_s: float,
    ) -> Any:
        """Return the payload of the next event of a topic, the default, or leave."""
        key = self._journal.take_key(f"event:{_check_name(topic)}")
        known = await self._journal.recall(key)
        text = known.text if known is not None else None
        if text is None:
            wanted = payload.encode(match) if match else None
            after = await self._start_of(f"{key} after", topic, look_back_s)
            async with self._pool.connection() as conn:
                found = await topics.find_event(conn, topic, after=after, match=wanted)
            if found is not None:
                text = f'{{"event":{found["id"]},"payload":{found["payload"]}}}'
                await self._journal.remember(key, text)
            else:
                due_at = await self._due_at(f"{key} until", timeout_s, None)
                if due_at is None or self._clock.now() < due_at:
                    detail = _waiting_for(f"event {topic}", due_at)
                    raise Suspend("event", topic, due_at, detail, after=after, match=wanted)
                text = await self._give_up(key, default)
        self._seen[topic] = max(self._seen.get(topic, 0), payload.decode(text).get("event", 0))
        return self._read(text, f"event {topic}", returns)

    async def _take_signal(self, key: str, name: str) -> str | None:
        """Take a signal into the journal, once; mostly there is none, which is seen for less."""
        claim = self._claim
        async with self._pool.connection() as own:
            if not await signals.has_signal(own, claim.job_id, name):
                return None

        async def take(conn: Connection) -> str | None:
            return await signals.take_signal(
                conn,
                job_id=claim.job_id,
                step=self._step,
                branch=claim.branch,
                key=key,
                name=name,
                worker_id=self._worker_id,
                now=self._clock.now(),
            )

        return await write_under_lease(self._pool, claim, self._step, take)

    async def _due_at(self, key: str, seconds: float | None, until: datetime | None) -> datetime | None:
        """Return when a wait is over: as the first attempt reckoned; None: never."""
        if (known := await self._journal.recall(key)) is not None:
            return datetime.fromisoformat(payload.decode(known.text)["due_at"])
        if until is not None:
            if until.tzinfo is None:
                raise DefinitionError(
                    f"step {self._step}: until has no time zone: expected an aware datetime"
                )
            if until > self._clock.now() + timedelta(seconds=WAIT_S_MAX):
                raise DefinitionError(
                    f"step {self._step}: {until} is no time to wait for: expected at most {WAIT_S_MAX:.0f} s from now"
                )
            due_at = until.astimezone(UTC)
        elif seconds is None:
            return None
        else:
            due_at = self._clock.now() + timedelta(seconds=self._check_seconds(seconds))
        await self._journal.remember(key, payload.encode({"due_at": due_at.isoformat()}))
        return due_at

    async def _start_of(self, key: str, topic: str, look_back_s: float) -> int:
        """Return the event that a wait begins after: what an earlier one of this step got is not given again."""
        if (known := await self._journal.recall(key)) is not None:
            after: int = payload.decode(known.text)["after"]
            return after
        since = self._clock.now() - timedelta(seconds=min(self._check_seconds(look_back_s), topics.KEPT_S))
        async with self._pool.connection() as conn:
            start = await topics.find_start(conn, topic, since)
        after = max(start, self._seen.get(topic, 0))
        await self._journal.remember(key, payload.encode({"after": after}))
        return after

    async def _give_up(self, key: str, default: Any) -> str:
        """Remember that the time was up: a message that comes later is for another wait."""
        said = {"timed_out": True} if default is REFUSE else {"timed_out": True, "payload": default}
        text = payload.encode(said)
        await self._journal.remember(key, text)
        return text

    def _read(self, text: str | None, subject: str, returns: Any) -> Any:
        said = payload.decode(text)
        if "payload" not in said:
            raise SignalTimeoutError(
                f"step {self._step}: no {subject} came in time: pass default=… to go on without it"
            )
        try:
            return rebuild(said["payload"], None if said.get("timed_out") else returns)
        except pydantic.ValidationError as error:
            raise ValidationError(
                f"step {self._step}: {subject} has a wrong shape: {error.error_count()} fields do not fit {returns}"
            ) from error

    def _check_seconds(self, seconds: float) -> float:
        if math.isnan(seconds) or seconds > WAIT_S_MAX:
            raise DefinitionError(
                f"step {self._step}: {seconds} s is no time to wait: expected at most {WAIT_S_MAX:.0f}"
            )
        return max(0.0, seconds)


def _check_name(name: str) -> str:
    if not 1 <= len(name) <= NAME_CHARS_MAX:
        raise DefinitionError(
            f"name {name[:50]!r} can't be waited for: expected 1 to {NAME_CHARS_MAX} characters"
        )
    return name


def _waiting_for(what: str, due_at: datetime | None) -> str:
    return f"waiting for {what}" + (f" until {_show(due_at)}" if due_at is not None else "")


def _show(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
