"""Child jobs of a step: started once, waited for without a slot.

A child is enqueued in one transaction with its row and the step's journal, under the lock of the step's lease: a
retry, and whoever runs the step after a crash, gets the same child. Its end wakes the parent in the transaction
that ends it (engine/endings.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from rkyc.engine.clock import DatabaseClock
from rkyc.engine.enqueuer import Enqueuer
from rkyc.engine.intake import encode_input, encode_metadata, insert_jobs, make_job_ids
from rkyc.engine.journal import StepJournal
from rkyc.engine.leases import write_under_lease
from rkyc.engine.payloads import Payloads, tenant_of
from rkyc.engine.suspend import Suspend
from rkyc.errors import ChildFailedError, DefinitionError
from rkyc.flow import payload
from rkyc.flow.context import ChildEnd
from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import children
from rkyc.store.queue.jobs import NewJobs

# A pipeline that starts itself for ever must end somewhere.
DEPTH_MAX = 20
CHILDREN_MAX = 10_000
NAME_CHARS_MAX = 200
OPTIONS = ("lane", "deadline_s", "metadata", "run_at")


@dataclass(frozen=True, slots=True)
class ChildJob:
    """A child that was started; `result` waits for it."""

    job_id: UUID
    pipeline: str
    on_failure: str
    _of: StepChildren = field(repr=False)

    async def result(self) -> Any:
        """Wait for the child without a slot and return what it gave; see `StepContext.spawn`."""
        (end,) = await self._of.wait_for([self])
        return end


class StepChildren:
    """The children that one attempt of one step starts or finds again."""

    def __init__(
        self,
        *,
        pool: Pool,
        clock: DatabaseClock,
        journal: StepJournal,
        payloads: Payloads,
        claim: Claim,
        step: str,
        worker_id: int,
    ) -> None:
        self._pool = pool
        self._payloads = payloads
        self._clock = clock
        self._journal = journal
        self._claim = claim
        self._step = step
        self._worker_id = worker_id
        self._enqueuer = Enqueuer(self._open_pool)
        self._count = 0

    async def _open_pool(self) -> Pool:
        return self._pool

    async def spawn(
        self,
        pipeline: str,
        input: Any,
        *,
        key: str | None,
        on_parent_end: Literal["cancel", "leave"],
        on_failure: Literal["fail", "return"],
        **options: Any,
    ) -> ChildJob:
        """Start a child, or find the one that an earlier attempt started."""
        self._check(key, on_parent_end, on_failure, options)
        name = self._journal.take_key(f"child:{key if key is not None else pipeline}")
        if (known := await self._journal.recall(name)) is not None:
            job_id = UUID(payload.decode(known.text)["job_id"])
        else:
            job_id = await self._start(name, pipeline, input, on_parent_end, options)
        return ChildJob(job_id, pipeline, on_failure, self)

    async def wait_for(self, started: Sequence[ChildJob]) -> list[Any]:
        """Return what each child gave, in their order, or leave until they have ended."""
        async with self._pool.connection() as conn:
            ends = [await children.read_child(conn, child.job_id) for child in started]
        left = [
            child
            for child, end in zip(started, ends, strict=True)
            if end is not None and end["state"] is None
        ]
        if left:
            raise await self._leave(left)
        return [await self._give(child, end) for child, end in zip(started, ends, strict=True)]

    async def _leave(self, left: Sequence[ChildJob]) -> Suspend:
        if len(left) == 1:
            (child,) = left
            detail = f"waiting for child {child.pipeline} {child.job_id}"
            return Suspend("child", str(child.job_id), None, detail)
        async with self._pool.connection() as conn:
            is_open = await children.list_open_children(
                conn, parent_id=self._claim.job_id, branch=self._claim.branch, step=self._step
            )
        # Of several, woken once, by the last one; unless others of the step may run on.
        is_all = is_open <= {child.job_id for child in left}
        key = children.ALL if is_all else str(left[0].job_id)
        return Suspend("child", key, None, f"waiting for {len(left)} children")

    async def _start(
        self, name: str, pipeline: str, input: Any, on_parent_end: str, options: dict[str, Any]
    ) -> UUID:
        claim = self._claim
        place: dict[str, Any] = {
            "parent_id": claim.job_id,
            "step": self._step,
            "branch": claim.branch,
            "name": name,
        }
        new = self._describe(pipeline, options)
        wrapped = await self._payloads.wrap(encode_input(input), tenant_of(claim))

        async def write(conn: Connection) -> UUID:
            known = await children.find_child(conn, **place)
            if known is not None:
                return known
            (job_id,) = make_job_ids(1)
            await insert_jobs(self._enqueuer, conn, new, [job_id], [wrapped], tells=True)
            await children.add_child(
                conn,
                **place,
                child_uuid=job_id,
                on_parent_end=on_parent_end,
                worker_id=self._worker_id,
                now=self._clock.now(),
            )
            return job_id

        return await write_under_lease(self._pool, claim, self._step, write)

    def _describe(self, pipeline: str, options: dict[str, Any]) -> NewJobs:
        """Return the child as it is enqueued: of this job's tenant, lane and key, unless told otherwise."""
        claim = self._claim
        own = claim.traits or {}
        traits = {name: own[name] for name in ("tenant", "fair_key", "weight") if name in own} | {
            "on_end": ["parent"],
            "parent": {"job_id": str(claim.uuid), "step": self._step, "depth": self._depth() + 1},
        }
        return NewJobs(
            pipeline,
            options.get("lane", claim.job_lane),
            options.get("run_at"),
            options.get("deadline_s"),
            encode_metadata(options.get("metadata")),
            traits=payload.encode(traits),
            fair_key=own.get("fair_key"),
        )

    async def _give(self, child: ChildJob, end: Any) -> Any:
        if end is None:
            raise ChildFailedError(
                f"step {self._step}: child {child.pipeline} {child.job_id} is not kept any more",
                {"job_id": str(child.job_id)},
            )
        text = end["result"]
        result = payload.decode(await self._payloads.unwrap(text)) if text is not None else None
        if child.on_failure == "return":
            return ChildEnd(child.job_id, end["state"], result, end["error_code"], end["error_message"])
        if end["state"] == "completed":
            return result
        reason = f": {end['error_code']} {end['error_message']}" if end["error_code"] else ""
        raise ChildFailedError(
            f"step {self._step}: child {child.pipeline} {child.job_id} {end['state']}{reason}",
            {"job_id": str(child.job_id), "status": end["state"], "error_code": end["error_code"]},
        )

    def _depth(self) -> int:
        depth: int = (self._claim.traits or {}).get("parent", {}).get("depth", 0)
        return depth

    def _check(self, key: str | None, on_parent_end: str, on_failure: str, options: dict[str, Any]) -> None:
        self._count += 1
        if self._count > CHILDREN_MAX:
            raise DefinitionError(f"step {self._step} starts more than {CHILDREN_MAX} children: use map_over")
        if self._depth() >= DEPTH_MAX:
            raise DefinitionError(
                f"step {self._step} starts a child of a child of … {DEPTH_MAX} levels: does a pipeline start itself?"
            )
        if on_parent_end not in ("cancel", "leave") or on_failure not in ("fail", "return"):
            raise DefinitionError(
                f"step {self._step}: on_parent_end {on_parent_end!r} and on_failure {on_failure!r} can't be used: "
                "expected cancel or leave, and fail or return"
            )
        if unknown := options.keys() - OPTIONS:
            raise DefinitionError(
                f"step {self._step}: a child takes no {', '.join(sorted(unknown))}: expected {', '.join(OPTIONS)}"
            )
        if key is not None and not 1 <= len(key) <= NAME_CHARS_MAX:
            raise DefinitionError(
                f"step {self._step}: a child's key has {len(key)} characters: expected 1 to {NAME_CHARS_MAX}"
            )
