"""Lets calls of language models in: a breaker, rates of requests, tokens and money, and the budget of the job.

The providers' router asks before each call and tells what came of it; reserved is an estimate, settled what the call
used. Limits are by provider, and by provider and tenant (the job's `tenant`, or its `fair_key`), shared by the fleet. A call outside
of a job's step waits in its process.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from rkyc.engine.budgets import check_budget
from rkyc.engine.rates import Lines
from rkyc.errors import DatabaseConnectionError, LLMProviderError, LLMRateLimitError, StoreError
from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import breakers
from rkyc.store.queue.breakers import BreakerPolicy
from rkyc.store.queue.buckets import Charge
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)

_DAY_S = 86_400.0
_MINUTE_S = 60.0


# The task that makes a call: set around each journalled one, for whatever it calls.
CALLER: ContextVar[Claim | None] = ContextVar("rkyc_caller", default=None)


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """By provider, or `provider/tenant` for each tenant by itself; without an entry there is no limit.

    `burst` is the share of a limit that may be used ahead of its rate: in no period is more than 1 + burst of a
    limit let in, and one call.
    """

    requests_per_minute: Mapping[str, float] = field(default_factory=dict)
    tokens_per_minute: Mapping[str, float] = field(default_factory=dict)
    usd_per_day: Mapping[str, float] = field(default_factory=dict)
    burst: float = 0.05


@dataclass(frozen=True, slots=True)
class Amount:
    """What a call takes: estimated before, or measured."""

    tokens: int
    usd: float = 0.0


@dataclass(slots=True)
class Ticket:
    """One call that was let in; the caller says what it used."""

    estimate: Amount
    used: Amount | None = None

    def settle(self, tokens: int, usd: float | None) -> None:
        """Say what the call used."""
        self.used = Amount(tokens, usd if usd is not None else self.estimate.usd)


class Admission:
    """What the providers' router asks. `open_pool` gives the pool."""

    def __init__(
        self,
        open_pool: Callable[[], Awaitable[Pool]],
        *,
        limits: AdmissionLimits | None = None,
        breaker: BreakerPolicy | None = None,
    ) -> None:
        self._open_pool = open_pool
        self._limits = limits or AdmissionLimits()
        self._breaker = breaker or BreakerPolicy()
        self._lines = Lines()

    @contextlib.asynccontextmanager
    async def admit(self, provider: str, *, tokens: int, usd: float) -> AsyncIterator[Ticket]:
        """Let a call in, and take note of how it ends.

        Raises:
            LLMProviderError: the provider failed again and again: ask another, or later.
            Suspend: the job must wait for a rate, or for more budget.
        """
        pool, claim = await self._open_pool(), CALLER.get()
        if claim is not None:
            await check_budget(pool, claim, usd)
        is_probe = await self._ask_breaker(pool, provider)
        ticket = Ticket(Amount(tokens, usd))
        try:
            charges = self._charges(provider, _tenant_of(claim), ticket.estimate)
            if charges:
                await self._lines.enter(pool, charges, claim=claim, subject=provider)
            yield ticket
        except LLMRateLimitError:
            # It answers, and says when to come again.
            raise
        except LLMProviderError:
            with _never_at_the_cost_of_the_answer(provider):
                async with pool.connection() as conn:
                    if await breakers.note_failure(conn, provider, self._breaker, is_probe=is_probe):
                        _log.warning(events.BREAKER_OPEN, provider=provider)
            raise
        with _never_at_the_cost_of_the_answer(provider):
            async with pool.connection() as conn:
                await breakers.note_success(conn, provider, is_probe=is_probe)
                await self._settle(conn, charges, provider, claim, ticket)

    async def _ask_breaker(self, pool: Pool, provider: str) -> bool:
        """Return whether this call probes a provider that failed before."""
        async with pool.connection() as conn:
            state = await breakers.ask_breaker(conn, provider, self._breaker)
        if state.wait_s is None:
            return state.is_probe
        raise LLMProviderError(
            f"{provider} failed again and again and is not asked for {state.wait_s:.0f} s",
            {"provider": provider, "retry_after": max(1.0, state.wait_s)},
        )

    async def _settle(
        self, conn: Connection, charges: Sequence[Charge], provider: str, claim: Claim | None, ticket: Ticket
    ) -> None:
        if not charges or ticket.used is None:
            return
        used = self._charges(provider, _tenant_of(claim), ticket.used)
        differences = [
            charge._replace(units=charge.units - reserved.units)
            for charge, reserved in zip(used, charges, strict=True)
            if charge.units != reserved.units
        ]
        if differences:
            await self._lines.settle(conn, differences)

    def _charges(self, provider: str, tenant: str | None, amount: Amount) -> list[Charge]:
        """Return what the call takes of each limit that stands for it."""
        limits = self._limits
        kinds = (
            ("requests", limits.requests_per_minute, 1.0, _MINUTE_S),
            ("tokens", limits.tokens_per_minute, float(amount.tokens), _MINUTE_S),
            ("usd", limits.usd_per_day, amount.usd, _DAY_S),
        )
        # A bucket is let grow by a call beyond what is ahead of the rate: half of the burst is left for that.
        ahead = limits.burst / 2
        names = [(provider, provider)]
        if tenant is not None:
            names.append((f"{provider}/tenant", f"{provider}/{tenant}"))
        return [
            Charge(f"{kind}/{scope}", units, size[name] / period_s, size[name] * ahead)
            for kind, size, units, period_s in kinds
            for name, scope in names
            if name in size
        ]


@contextlib.contextmanager
def _never_at_the_cost_of_the_answer(provider: str) -> Iterator[None]:
    """Note how a call ended if the database is there: an answer is paid for, and kept whatever becomes of the note.

    Without it the reservation stays as it was estimated, and a probe is made again.
    """
    try:
        yield
    except (DatabaseConnectionError, StoreError) as error:
        _log.warning(events.CALL_UNNOTED, provider=provider, error=str(error))


def _tenant_of(claim: Claim | None) -> str | None:
    if claim is None or claim.traits_json is None:
        return None
    traits = claim.traits or {}
    tenant: str | None = traits.get("tenant") or traits.get("fair_key")
    return tenant
