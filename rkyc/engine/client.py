"""What submits, looks at and steers jobs: the API, the command line and users' programs share it.

It calls, and decides nothing: what becomes of a job is in `flow`, the moves are in the store.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from rkyc.engine.broadcasting import Broadcasting
from rkyc.engine.budgets import Budgeting
from rkyc.engine.cancelling import Cancelling
from rkyc.engine.changing import Changing
from rkyc.engine.dead_letters import DeadLetters
from rkyc.engine.enqueuer import GROUP_ROWS_MAX, Enqueuer
from rkyc.engine.intake import encode_input, encode_metadata, encode_traits, insert_jobs, make_job_ids
from rkyc.engine.looking import Looking
from rkyc.engine.messages import Messaging
from rkyc.engine.migrating import Migrating
from rkyc.engine.pausing import Pausing
from rkyc.engine.payloads import Payloads, Wrapped, add_tenant
from rkyc.engine.refusals import refuse_passed_deadline
from rkyc.engine.schedules import Schedules
from rkyc.engine.uniqueness import find_keeper, hold_key, take_key_again
from rkyc.errors import (
    ConfigError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
)
from rkyc.flow.envelope import Codec
from rkyc.flow.unique import Unique
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import audit, dead_letters, jobs
from rkyc.store.queue.jobs import NewJobs


@dataclass(frozen=True, slots=True)
class Submitted:
    """What `submit` made or found; `is_new` is False for a repeated idempotency key, and for a unique key that is held."""

    job_id: UUID
    is_new: bool


class Client(Budgeting, Looking, Messaging, Broadcasting, Cancelling, Changing, Migrating, Pausing):
    """Jobs and `schedules`, by one pool. `Client(dsn)` opens a pool of its own at the first call; close it with `aclose`.

    Raises:
        ConfigError: neither a DSN nor a pool.
    """

    def __init__(self, dsn: str = "", *, pool: Pool | None = None, codec: Codec | None = None) -> None:
        if not dsn and pool is None:
            raise ConfigError(
                "Client needs a database: Client('postgresql://user:password@host:port/database')"
            )
        self._dsn = dsn
        self._pool = pool
        self._owns_pool = pool is None
        self._opening = asyncio.Lock()
        self._enqueuer = Enqueuer(self.pool)
        self._payloads = Payloads(self.pool, codec)
        self.schedules = Schedules(self.pool, self._payloads)
        self.dead_letters = DeadLetters(self.pool)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Write and tell what is still to be, and close the pool if it is the client's own."""
        await self._enqueuer.close()
        if self._owns_pool and self._pool is not None:
            await self._pool.close()

    async def pool(self) -> Pool:
        """Return the pool, opened at the first use."""
        async with self._opening:
            if self._pool is None:
                self._pool = await Pool.open(self._dsn, application_name="rkyc client")
        return self._pool

    async def enqueue(
        self, pipeline: str, input: Any, *, conn: Connection | None = None, **options: Any
    ) -> UUID:
        """Enqueue a job and return its id; options are those of `submit`.

        With `conn` it is part of the caller's transaction, and the workers learn of it when that commits.
        """
        submitted = await self.submit(pipeline, input, conn=conn, **options)
        return submitted.job_id

    async def submit(
        self,
        pipeline: str,
        input: Any,
        *,
        lane: str = "default",
        idempotency_key: str | None = None,
        run_at: datetime | None = None,
        deadline_s: float | None = None,
        metadata: dict[str, Any] | None = None,
        webhook_url: str | None = None,
        budget_usd: float | None = None,
        fair_key: str | None = None,
        weight: float = 1.0,
        unique: Unique | None = None,
        tenant: str = "",
        conn: Connection | None = None,
    ) -> Submitted:
        """Enqueue a job, once per idempotency key; or, with `unique`, while no other job holds its key.

        Jobs with a `fair_key` (a tenant, a user) begin in turns: each key gets slots by its `weight`, 0.01 to 100,
        however many jobs the others have.
        `tenant`: whose key seals its payloads, where they are sealed.

        Raises:
            InvalidInputError: an idempotency key and a unique key at once.
            UnknownPipelineError, UnknownLaneError: the name is not known on this database.
            ConflictError: the key was used with another input.
            PayloadTooLargeError: the input is over 16 MB.
        """
        if unique is not None and idempotency_key is not None:
            raise InvalidInputError("a job has an idempotency key or a unique key: give one of them")
        text = encode_input(input)
        new = NewJobs(
            pipeline,
            lane,
            run_at,
            deadline_s,
            encode_metadata(metadata),
            webhook_url,
            budget_usd,
            idempotency_key,
            add_tenant(
                encode_traits(fair_key=fair_key, weight=weight, budget_usd=budget_usd, unique=unique), tenant
            ),
            fair_key,
        )
        wrapped = await self._payloads.wrap(text, tenant)
        (job_id,) = make_job_ids(1)
        if conn is not None:
            # A refusal must not leave its key behind in a transaction that the caller commits all the same.
            is_keyed = idempotency_key is not None or unique is not None
            async with conn.transaction() if is_keyed else contextlib.nullcontext():
                # There is no "after commit" here: Postgres sends the hint when the caller's transaction commits.
                return await self._submit(conn, new, job_id, text, wrapped, unique)
        if idempotency_key is None and unique is None and wrapped.blob is None:
            await self._enqueuer.put(new, job_id, wrapped.text)
            return Submitted(job_id, True)
        # A key and its job must commit together, and so must a job and its hold on a blob.
        pool = await self.pool()
        async with pool.transaction() as own:
            return await self._submit(own, new, job_id, text, wrapped, unique)

    async def _submit(
        self,
        conn: Connection,
        new: NewJobs,
        job_id: UUID,
        text: str,
        wrapped: Wrapped,
        unique: Unique | None,
    ) -> Submitted:
        keeper = await find_keeper(conn, unique) if unique is not None else None
        if keeper is not None:
            return Submitted(keeper, False)
        if new.idempotency_key is not None:
            request = {"key": new.idempotency_key, "pipeline": new.pipeline, "input": text}
            if not await jobs.take_idempotency_key(conn, uuid=job_id, **request):
                known_id = await jobs.find_same_request(conn, **request)
                if known_id is None:
                    raise ConflictError(
                        f"idempotency key {new.idempotency_key!r} was used with another pipeline or input: "
                        "use a new key for a new request"
                    )
                return Submitted(known_id, False)
        await insert_jobs(self._enqueuer, conn, new, [job_id], [wrapped], tells=True)
        if unique is not None:
            await hold_key(conn, unique, job_id)
        return Submitted(job_id, True)

    async def enqueue_many(
        self,
        pipeline: str,
        inputs: Sequence[Any],
        *,
        lane: str = "default",
        metadata: dict[str, Any] | None = None,
        fair_key: str | None = None,
        weight: float = 1.0,
        tenant: str = "",
        conn: Connection | None = None,
    ) -> list[UUID]:
        """Enqueue many jobs of one pipeline and return their ids in order.

        1,000 a statement, on two connections where there are more: the order in which they start is about this one.
        All inputs are read before the first is written; a lost connection may leave some of them enqueued. With `conn`
        all of them are part of the caller's transaction, in their order.

        Raises:
            UnknownPipelineError, UnknownLaneError, PayloadTooLargeError
        """
        new = NewJobs(
            pipeline,
            lane,
            metadata=encode_metadata(metadata),
            traits=add_tenant(encode_traits(fair_key=fair_key, weight=weight), tenant),
            fair_key=fair_key,
        )
        texts = [encode_input(one) for one in inputs]
        wrapped = await self._payloads.wrap_all(texts, tenant)
        ids = make_job_ids(len(texts))
        starts = iter(range(0, len(ids), GROUP_ROWS_MAX))

        async def insert(conn: Connection, start: int, *, tells: bool) -> None:
            group = slice(start, start + GROUP_ROWS_MAX)
            if wrapped is None:
                await self._enqueuer.insert(conn, new, ids[group], texts[group], tells=tells)
            else:
                await insert_jobs(self._enqueuer, conn, new, ids[group], wrapped[group], tells=tells)

        if conn is not None:
            for start in starts:
                await insert(conn, start, tells=start == 0)
            return ids
        pool = await self.pool()

        async def write() -> None:
            async with pool.connection() as conn:
                for start in starts:
                    await insert(conn, start, tells=False)

        writers = [write() for _ in ids[: 2 * GROUP_ROWS_MAX : GROUP_ROWS_MAX]]
        # Each to its end: none may go on writing behind the back of a caller who was told that it failed.
        for ended in await asyncio.gather(*writers, return_exceptions=True):
            if ended is not None:
                raise ended
        return ids

    async def retry(self, job_id: UUID, *, by: str = "client") -> None:
        """Start a failed or cancelled job again at the steps that were left; completed steps keep their outputs.

        Raises:
            NotFoundError
            ConflictError: it is not failed or cancelled, its deadline has passed, or another job holds its unique key.
        """
        pool = await self.pool()
        async with pool.transaction() as conn:
            job = await jobs.find_job(conn, job_id)
            if job is None:
                raise NotFoundError(f"no job {job_id}: `rkyc jobs list` shows those that are kept")
            await dead_letters.lock_of_job(conn, job["id"])
            await refuse_passed_deadline(conn, job["id"], job_id)
            await take_key_again(conn, job["id"], job_id)
            lanes = await jobs.retry_job(conn, job_id=job["id"])
            if not lanes:
                raise ConflictError(
                    f"job {job_id} is neither failed nor cancelled: only such a job can be started again"
                )
            await audit.write_entry(conn, who=by, action="job.retry", kind="job", object=str(job_id))
        async with pool.connection() as conn:
            await jobs.notify(conn, jobs.WAKE_CHANNEL, sorted(set(lanes)))
