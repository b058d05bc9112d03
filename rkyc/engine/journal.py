"""`ctx.call`: answers that are remembered from the moment they are committed.

An answer is group-committed as soon as it is there, so that no crash and no retry pays for it
again. The window in which an answer can be lost lies between its arrival and that commit: a round trip, and
where other tasks run a millisecond of linger. bench/call_window.py measures it.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Set
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

import orjson
import pydantic

from rkyc.engine.admission import CALLER
from rkyc.engine.budgets import check_budget
from rkyc.engine.flusher import Flusher
from rkyc.engine.suspend import Suspend
from rkyc.errors import DefinitionError, LeaseLostError
from rkyc.flow import payload
from rkyc.flow.job import Claim
from rkyc.store.pool import Pool
from rkyc.store.queue import journal
from rkyc.store.queue.journal import Answer

T = TypeVar("T")
NAME_CHARS_MAX = 200
# The calls that the running code is part of.
_WITHIN: ContextVar[frozenset[object]] = ContextVar("rkyc_within", default=frozenset())


class Remembered(NamedTuple):
    """An answer of the journal; `text` is JSON, None an SQL NULL."""

    text: str | None


class StepJournal:
    """The calls of one attempt of one step."""

    def __init__(self, *, pool: Pool, flusher: Flusher, claim: Claim, step: str, is_first: bool) -> None:
        self._pool = pool
        self._flusher = flusher
        self._claim = claim
        self._step = step
        # A first attempt has nothing to remember: no read.
        self._known: dict[str, str | None] | None = {} if is_first else None
        self._uses: dict[str, int] = {}
        self._keys: set[str] = set()
        self._under_way: set[object] = set()
        # Nothing is under way any more; for those who wait for that.
        self._idle = asyncio.Event()

    async def call(self, name: str, fn: Callable[[], Awaitable[T]], returns: type[T] | None) -> T:
        """Return the remembered answer, or do the call and remember it."""
        key = self.take_key(name)
        if (known := await self.recall(key)) is not None:
            remembered: T = rebuild(payload.decode(known.text), returns)
            return remembered
        if self._claim.traits_json is not None:
            await self._check_budget()
        started, this = time.monotonic(), object()
        caller, within = CALLER.set(self._claim), _WITHIN.set(_WITHIN.get() | {this})
        self._under_way.add(this)
        try:
            value = await fn()
            await self.remember(key, payload.encode(value), int((time.monotonic() - started) * 1000))
        except Suspend:
            await self._wait_for_others()
            raise
        finally:
            self._leave({this})
            _WITHIN.reset(within)
            CALLER.reset(caller)
        return value

    async def _check_budget(self) -> None:
        """Like `check_budget`; a pause comes when the calls beside are remembered: it may cancel what it leaves."""
        while True:
            try:
                return await check_budget(self._pool, self._claim)
            except Suspend:
                if not await self._wait_for_others():
                    raise

    async def _wait_for_others(self) -> bool:
        """Wait until no call is under way but those that this one is within; return whether there were any."""
        enclosing = self._under_way & _WITHIN.get()
        # They wait with it: two that did so for each other would wait for ever.
        self._leave(enclosing)
        if not self._under_way:
            return False
        self._idle.clear()
        await self._idle.wait()
        self._under_way |= enclosing
        return True

    def _leave(self, calls: Set[object]) -> None:
        self._under_way -= calls
        if not self._under_way:
            self._idle.set()

    async def recall(self, key: str) -> Remembered | None:
        """Return what is remembered under a key of `take_key`; read once an attempt."""
        if self._known is None:
            async with self._pool.connection() as conn:
                self._known = await journal.read_answers(
                    conn, job_id=self._claim.job_id, step=self._step, branch=self._claim.branch
                )
        return Remembered(self._known[key]) if key in self._known else None

    async def remember(self, key: str, text: str, ms: int = 0) -> None:
        """Remember an answer (JSON text) from its commit on.

        Raises:
            LeaseLostError: the task is another worker's.
        """
        if not await self._flusher.submit(self._answer(key, text, ms)):
            raise LeaseLostError(f"job {self._claim.uuid}: the lease was lost while {key} was under way")

    def take_key(self, name: str) -> str:
        """Return a key that no other call of this attempt has; the same one in every attempt.

        Raises:
            DefinitionError: a name that Postgres can't hold.
        """
        if not payload.is_storable(name):
            raise DefinitionError(f"name {name[:50]!r} can't be remembered: expected valid text, and no NUL")
        if len(name) > NAME_CHARS_MAX:
            name = f"{name[: NAME_CHARS_MAX - 33]}~{hashlib.sha256(name.encode()).hexdigest()[:32]}"
        number = self._uses.get(name, 0) + 1
        while (key := name if number == 1 else f"{name}#{number}") in self._keys:
            number += 1
        self._uses[name] = number
        self._keys.add(key)
        return key

    def _answer(self, key: str, text: str, ms: int) -> Answer:
        """Read off what the call cost, where its answer says so (`provider`, `model`, `usage`)."""
        said: Any = orjson.loads(text) if '"usage"' in text else None
        usage = said.get("usage") if isinstance(said, dict) else None
        if not isinstance(usage, dict):
            said, usage = {}, {}
        return Answer(
            claim=self._claim,
            step=self._step,
            name=key,
            text=text,
            provider=_text(said.get("provider")),
            model=_text(said.get("model")),
            tokens_in=_count(usage.get("tokens_in")),
            tokens_out=_count(usage.get("tokens_out")),
            cost_usd=_money(usage.get("cost_usd")),
            ms=ms,
        )


def rebuild(value: Any, returns: type[T] | None) -> Any:
    """Give a remembered answer the type that the first call had."""
    if returns is None:
        return value
    return pydantic.TypeAdapter(returns).validate_python(value)


def _text(value: Any) -> str | None:
    """Anyone's dict may say `usage`: what is not of the kind is left out, not refused."""
    return value[:200] if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**31 else None


def _money(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e6 else None
