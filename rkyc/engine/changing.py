"""What a client can do with a job that was done otherwise than wanted: again from a step, or as another job.

A fork is a new job that begins with checkpoints of another and runs the rest; `rerun` chooses by what
changed since. The jobs stay linked, and `diff` shows how their outputs and costs differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

from rkyc.engine.intake import encode_input, make_job_ids
from rkyc.engine.payloads import Payloads, Wrapped, hold_blobs
from rkyc.engine.refusals import refuse_continued, refuse_passed_deadline
from rkyc.engine.uniqueness import take_key_again
from rkyc.errors import ConflictError, InvalidInputError, NotFoundError
from rkyc.flow import payload
from rkyc.flow.compare import Difference, compare_json
from rkyc.flow.identity import DoneStep, find_changed
from rkyc.flow.pipeline import Registry
from rkyc.flow.restart import Restart, explain_again, plan_restart, with_followers
from rkyc.flow.undo import BEGIN
from rkyc.store.pool import Connection, Pool, Record
from rkyc.store.queue import audit, dead_letters, jobs, restarts
from rkyc.store.queue.restarts import NewFork

RUNS_MAX = 1000
_VERSION_MAX = 2**31 - 1
# The job's input stays as it was; None is an input, too.
SAME: Final = object()


@dataclass(frozen=True, slots=True)
class Rerun:
    """What a rerun runs and keeps, and why. Money in USD, as far as the calls told their cost.

    `job_id` is None when there is nothing to run, or it was only planned. `before_usd` is what the source
    cost in whole, `again_usd` what the steps that run again cost then, `saved_usd` what is not spent again.
    """

    job_id: UUID | None
    version: int
    again: tuple[str, ...]
    kept: tuple[str, ...]
    reasons: Mapping[str, str]
    before_usd: float
    again_usd: float
    saved_usd: float
    saved_calls: int


@dataclass(frozen=True, slots=True)
class JobsDiff:
    """How two jobs differ: outputs by step, and what each of them spent (`own`) or took over."""

    steps: Mapping[str, list[Difference]]
    before: Mapping[str, Any]
    after: Mapping[str, Any]


class _Changer(Protocol):
    _payloads: Payloads

    async def pool(self) -> Pool: ...

    async def show_payload(self, text: str | None) -> str | None: ...


class Changing:
    """The part of `Client` that starts jobs again, whole or in part."""

    async def retry_from(self: _Changer, job_id: UUID, step: str, *, by: str = "client") -> None:
        """Start an ended job again from a step on; the outputs of that step and all after it no longer count.

        They stay in `superseded_checkpoint`, and what their calls cost stays on the job's bill. `by` stands in the
        audit trail, as in all that follows.

        Raises:
            NotFoundError, InvalidInputError: no such job or step.
            ConflictError: it has not ended, went on as another job, was undone in part, its deadline has passed, or
                another one holds its key.
        """
        pool = await self.pool()
        async with pool.transaction() as conn:
            source = await _read_source(conn, job_id)
            await dead_letters.lock_of_job(conn, source["id"])
            if await restarts.lock_end(conn, source["id"]) is None:
                raise ConflictError(f"job {job_id} has not ended: cancel it first, or fork it")
            await refuse_continued(conn, source["id"], job_id)
            await refuse_passed_deadline(conn, source["id"], job_id)
            graph, _ = await _read_graph(conn, source["pipeline"], source["version"])
            done = await _list_done(conn, source)
            plan = plan_restart(graph, {one.step for one in done}, [step])
            await take_key_again(conn, source["id"], job_id)
            lanes = await restarts.restart_job(conn, source["id"], plan, from_step=step)
            await _note(conn, by, "job.retry", job_id, from_step=step)
        async with pool.connection() as conn:
            await jobs.notify(conn, jobs.WAKE_CHANNEL, lanes)

    async def fork(
        self: _Changer,
        job_id: UUID,
        step: str,
        *,
        input: Any = SAME,
        outputs: Mapping[str, Any] | None = None,
        version: int | None = None,
        registry: Registry | None = None,
        by: str = "client",
    ) -> UUID:
        """Make a new job that keeps what was done before a step, and runs that step and all after it.

        `input` replaces the job's input, `outputs` those of kept steps; `version` is the source's by default.
        `registry` is needed where a kept step saved rows that must be carried over.

        Raises:
            NotFoundError, InvalidInputError: no such job or step; an output of a step that is not kept.
            ConflictError: rows must be carried over and their code is not here; it is being undone, or was in part;
                it went on as another job before the step.
        """
        pool = await self.pool()
        edits = await _wrap_edits(pool, self._payloads, job_id, input, outputs or {})
        async with pool.transaction() as conn:
            source = await _read_source(conn, job_id)
            target = source["version"] if version is None else version
            graph, target = await _read_graph(conn, source["pipeline"], target)
            done = await _list_done(conn, source)
            plan = plan_restart(graph, {one.step for one in done}, [step])
            if done and done[-1].step not in with_followers(graph, [step]):
                await refuse_continued(conn, source["id"], job_id)
            _check_kept(plan, edits.outputs)
            metadata = payload.encode({"forked_from": str(job_id), "forked_at": step})
            new = edits.describe(source["id"], target, "fork", metadata)
            lanes = await _insert(conn, new, plan, source, graph, registry)
            await hold_blobs(conn, [(new.uuid, blob) for blob in edits.blobs])
            await _note(conn, by, "job.fork", job_id, from_step=step, forked=str(new.uuid))
        async with pool.connection() as conn:
            await jobs.notify(conn, jobs.WAKE_CHANNEL, lanes)
        return new.uuid

    async def rerun(
        self: _Changer,
        job_id: UUID,
        *,
        input: Any = SAME,
        degraded: bool = False,
        version: int | None = None,
        registry: Registry | None = None,
        dry_run: bool = False,
        by: str = "client",
    ) -> Rerun:
        """Make a new job of an ended one in which only what changed runs again, with all that comes after it.

        Changed is a step whose declared version, fingerprint or resources differ from those of the worker that
        did it; with `degraded` also what was done in part. The newest version is taken unless one is named, and
        what its newest worker declares counts as today's.

        Raises:
            NotFoundError: no such job or version.
            ConflictError: it has not ended, or went on as another job; no worker ever declared the version; see `fork`.
        """
        pool = await self.pool()
        edits = await _wrap_edits(pool, self._payloads, job_id, input, {})
        async with pool.transaction() as conn:
            source = await _read_source(conn, job_id)
            if source["state"] is None:
                raise ConflictError(f"job {job_id} has not ended: wait for its end, or cancel it first")
            await refuse_continued(conn, source["id"], job_id)
            graph, target = await _read_graph(conn, source["pipeline"], version)
            today = await restarts.read_identities(conn, source["pipeline"], target)
            if today is None:
                raise ConflictError(
                    f"no worker has served {source['pipeline']}@{target} yet: start one, so that it is known what changed"
                )
            done = await _list_done(conn, source)
            changed = find_changed(
                done,
                payload.decode(today),
                steps={one["name"] for one in graph["steps"]},
                is_input_changed=edits.is_input_changed,
                redoes_degraded=degraded,
            )
            completed = {one.step for one in done}
            # What was not completed the plan finds by itself: it knows what was gone past.
            plan = plan_restart(graph, completed, changed)
            costs = await restarts.sum_costs(conn, source["id"])
            job_uuid, lanes = None, []
            if plan.again and not dry_run:
                metadata = payload.encode({"rerun_of": str(job_id)})
                new = edits.describe(source["id"], target, "rerun", metadata)
                lanes = await _insert(conn, new, plan, source, graph, registry)
                await hold_blobs(conn, [(new.uuid, blob) for blob in edits.blobs])
                job_uuid = new.uuid
                await _note(conn, by, "job.rerun", job_id, rerun=str(new.uuid))
        if lanes:
            async with pool.connection() as conn:
                await jobs.notify(conn, jobs.WAKE_CHANNEL, lanes)
        return _tell_rerun(job_uuid, target, plan, explain_again(graph, plan, completed, changed), costs)

    async def diff(self: _Changer, before_id: UUID, after_id: UUID) -> JobsDiff:
        """Compare the outputs of two jobs' steps, and their costs.

        Raises:
            NotFoundError
        """
        pool = await self.pool()
        async with pool.connection() as conn:
            sources = [await _read_source(conn, job_id) for job_id in (before_id, after_id)]
            outputs = [await jobs.read_outputs(conn, job_id) for job_id in (before_id, after_id)]
            costs = [await restarts.sum_costs(conn, source["id"]) for source in sources]
        names = [*outputs[0], *(name for name in outputs[1] if name not in outputs[0])]
        steps = {}
        for name in names:
            values = [payload.decode(await self.show_payload(each.get(name))) for each in outputs]
            found = compare_json(*values)
            if found:
                steps[name] = found
        return JobsDiff(steps, _sum(before_id, costs[0]), _sum(after_id, costs[1]))

    async def runs(self: _Changer, job_id: UUID) -> list[Record]:
        """Return the jobs that this one came of and that came of it, oldest first, itself among them.

        Raises:
            NotFoundError
        """
        pool = await self.pool()
        async with pool.connection() as conn:
            await _read_source(conn, job_id)
            return await restarts.list_runs(conn, job_id, limit=RUNS_MAX)


async def _note(conn: Connection, by: str, action: str, job_id: UUID, **details: str) -> None:
    await audit.write_entry(
        conn, who=by, action=action, kind="job", object=str(job_id), details=payload.encode(details)
    )


async def _read_source(conn: Connection, job_id: UUID) -> Record:
    source = await restarts.read_source(conn, job_id)
    if source is None:
        raise NotFoundError(f"no job {job_id}: `rkyc jobs list` shows those that are kept")
    return source


async def _read_graph(conn: Connection, pipeline: str, version: int | None) -> tuple[dict[str, Any], int]:
    is_possible = version is None or 0 < version <= _VERSION_MAX
    row = await restarts.read_version_graph(conn, pipeline, version) if is_possible else None
    if row is None:
        raise NotFoundError(f"no version {version} of {pipeline} was ever served on this database")
    return payload.decode(row["graph"]), row["version"]


async def _list_done(conn: Connection, source: Record) -> list[DoneStep]:
    """Return a job's completed steps.

    Raises:
        ConflictError: some of them are undone, and their outputs stand for nothing.
    """
    rows = await restarts.list_done_steps(
        conn, source["id"], pipeline=source["pipeline"], version=source["version"]
    )
    # It is put aside when all is undone.
    if any(row["step"] == BEGIN for row in rows):
        if source["state"] is None:
            raise ConflictError(f"job {source['uuid']} is being undone: wait for its end")
        raise ConflictError(
            f"job {source['uuid']} was undone in part: `rkyc jobs retry` goes on with the undoing first"
        )
    return [
        DoneStep(
            row["step"],
            row["degraded"],
            None if row["identity"] is None else tuple(payload.decode(row["identity"])),
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class _Edits:
    """What a person changes of a job, as the database takes it; `input` is None where it stays as it was."""

    input: Wrapped | None
    is_input_changed: bool
    outputs: Mapping[str, Wrapped]

    @property
    def blobs(self) -> list[str | None]:
        return [one.blob for one in (self.input, *self.outputs.values()) if one is not None]

    def describe(self, source_id: int, version: int, kind: str, metadata: str) -> NewFork:
        """Return the new job."""
        return NewFork(
            source_id,
            make_job_ids(1)[0],
            version,
            kind,
            None if self.input is None else self.input.text,
            metadata,
            {name: one.text for name, one in self.outputs.items()},
        )


async def _wrap_edits(
    pool: Pool, payloads: Payloads, job_id: UUID, input: Any, outputs: Mapping[str, Any]
) -> _Edits:
    """Encode what is to be changed, and seal it for the job's tenant: before the transaction that names it."""
    if input is SAME and not outputs:
        return _Edits(None, False, {})
    texts = {name: encode_input(value) for name, value in outputs.items()}
    async with pool.connection() as conn:
        source = await _read_source(conn, job_id)
    tenant = source["tenant"]
    edited = {name: await payloads.wrap(text, tenant) for name, text in texts.items()}
    if input is SAME:
        return _Edits(None, False, edited)
    text = encode_input(input)
    is_changed = payload.decode(text) != payload.decode(await payloads.unwrap(source["input"]))
    return _Edits(await payloads.wrap(text, tenant), is_changed, edited)


def _check_kept(plan: Restart, outputs: Iterable[str]) -> None:
    kept = [one.step for one in plan.kept]
    for name in outputs:
        if name not in kept:
            raise InvalidInputError(
                f"the output of {name!r} can't be set, since it is not kept: expected one of {', '.join(kept) or 'none'}"
            )


async def _insert(
    conn: Connection,
    new: NewFork,
    plan: Restart,
    source: Record,
    graph: Mapping[str, Any],
    registry: Registry | None,
) -> list[str]:
    """Write the new job and carry over what its kept steps saved; return the lanes to wake."""
    copied, lanes = await restarts.fork_job(conn, new, plan)
    if copied != len(plan.kept):
        raise ConflictError(f"job {source['uuid']} was started again meanwhile: fork it again")
    carrying = {one["name"] for one in graph["steps"] if one.get("carries")}
    pipeline = registry.get(source["pipeline"], new.version) if registry is not None else None
    for name in plan.kept_names:
        if name not in carrying:
            continue
        carry = pipeline.place(name).step.carry if pipeline is not None else None
        if carry is None:
            raise ConflictError(
                f"step {name} saved rows that must be carried over, and {source['pipeline']}@{new.version} is not known "
                "here: fork it where the pipeline is (--app MODULE:REGISTRY)"
            )
        await carry(conn, source["uuid"], new.uuid)
    return lanes


def _tell_rerun(
    job_id: UUID | None, version: int, plan: Restart, reasons: Mapping[str, str], costs: list[Record]
) -> Rerun:
    kept = plan.kept_names
    spent = {row["step"]: row["cost_usd"] for row in costs}
    return Rerun(
        job_id,
        version,
        plan.again,
        kept,
        reasons,
        before_usd=sum(spent.values()),
        again_usd=sum(spent.get(name, 0.0) for name in plan.again),
        saved_usd=sum(spent.get(name, 0.0) for name in kept),
        saved_calls=sum(row["calls"] for row in costs if row["step"] in kept),
    )


def _sum(job_id: UUID, costs: list[Record]) -> dict[str, Any]:
    own = [row for row in costs if row["depth"] == 0]
    return {
        "job_id": str(job_id),
        "cost_usd": sum(row["cost_usd"] for row in own),
        "tokens_in": sum(row["tokens_in"] for row in own),
        "tokens_out": sum(row["tokens_out"] for row in own),
        "calls": sum(row["calls"] for row in own),
        "taken_over_usd": sum(row["cost_usd"] for row in costs if row["depth"]),
    }
