"""Jobs of an old version moved to a newer one, by the up-casters that the newer one declares.

`Pipeline("orders", 2, …, upcast={(1, 2): fn})`: `fn(input, outputs)` gets a job's input and the outputs of its completed
steps by name, and returns both as version 2 would have them; a step that it leaves out runs again. A job is moved when a
person asks for it, or when a worker claims it whose version no live worker serves. In one transaction: its leases
are taken, so that nobody writes under the old version any more. What was held back, by a pause or until its turn or time,
stays so.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from rkyc.engine.executor_casts import upcast
from rkyc.engine.intake import encode_input
from rkyc.engine.payloads import Payloads, Wrapped, hold_blobs
from rkyc.engine.turns import NOTICE
from rkyc.errors import ConflictError, DatabaseConnectionError, NotFoundError, RkycError
from rkyc.flow import payload
from rkyc.flow.decide import message_of
from rkyc.flow.job import Claim
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.restart import Restart, find_origins, plan_restart
from rkyc.flow.undo import PREFIX
from rkyc.store.pool import Connection, Pool, Record
from rkyc.store.queue import audit, commits, jobs, migrations, restarts, schedules, undo
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)

_TRIES = 20
_GROUP = 100


class _Mover(Protocol):
    _payloads: Payloads

    async def pool(self) -> Pool: ...


class Migrating:
    """The part of `Client` that moves jobs between versions."""

    async def migrate(
        self: _Mover, job_id: UUID, registry: Registry, *, version: int | None = None, by: str = "client"
    ) -> int:
        """Move a job that has not ended to a newer version, the registry's newest by default; return the version.

        Raises:
            NotFoundError
            ConflictError: it has ended, or no up-caster leads to the version.
        """
        return await move_job(await self.pool(), self._payloads, job_id, registry, version=version, by=by)

    async def migrate_all(
        self: _Mover, pipeline: str, registry: Registry, *, version: int | None = None, by: str = "client"
    ) -> int:
        """Move all jobs of older versions of a pipeline that wait for a worker of theirs; return how many."""
        pool = await self.pool()
        target = registry.latest(pipeline).version if version is None else version
        count, after, refused = 0, 0, list[ConflictError]()
        while True:
            async with pool.connection() as conn:
                rows = await migrations.list_blocked(conn, pipeline, target, after=after, limit=_GROUP)
            for row in rows:
                try:
                    await move_job(pool, self._payloads, row["uuid"], registry, version=target, by=by)
                    count += 1
                except ConflictError as error:
                    refused.append(error)
            if len(rows) < _GROUP:
                break
            after = rows[-1]["id"]
        if refused:
            raise ConflictError(
                f"{count} jobs were moved, {len(refused)} could not be. The first: {refused[0]}"
            )
        return count


async def move_job(
    pool: Pool, payloads: Payloads, job_id: UUID, registry: Registry, *, version: int | None, by: str
) -> int:
    """See `Migrating.migrate`."""
    failure = DatabaseConnectionError(f"job {job_id}: a task is about to move")
    for _ in range(_TRIES):
        try:
            cast = await _cast(pool, payloads, job_id, registry, version)
            async with pool.transaction() as conn:
                lanes = await _move(conn, cast, by)
            async with pool.connection() as conn:
                await jobs.notify(conn, jobs.WAKE_CHANNEL, lanes)
            return cast.target.version
        except DatabaseConnectionError as error:
            failure = error
        await asyncio.sleep(0.01)
    raise failure


async def move_blocked(
    pool: Pool, payloads: Payloads, registry: Registry, claim: Claim
) -> tuple[bool, str | None]:
    """Move a claimed job whose version nobody serves, where an up-caster leads to a version served here.

    Return whether it was moved, and why not where an up-caster could not do it. Waits while the database is away.
    """
    newest = max(
        (one for one in registry if one.name == claim.pipeline), key=lambda one: one.version, default=None
    )
    if newest is None or not newest.upcast or newest.find_upcasts(claim.version) is None:
        return False, None
    if claim.step.startswith(PREFIX):
        # Its own version alone knows how what it did is undone.
        return False, None
    while True:
        try:
            async with pool.connection() as conn:
                if await migrations.is_served(conn, claim.pipeline, claim.version):
                    return False, None
            await move_job(pool, payloads, claim.uuid, registry, version=newest.version, by="worker")
            return True, None
        except DatabaseConnectionError:
            await asyncio.sleep(random.uniform(0.1, 0.3))
        except RkycError as error:
            # It is as it was: its own version may still be served again, and a person may move it.
            _log.warning(
                events.MOVE_REFUSED, job_id=str(claim.uuid), version=newest.version, error=str(error)
            )
            return False, f"version {claim.version} can't be moved to {newest.version}: {message_of(error)}"


@dataclass(frozen=True, slots=True)
class _Cast:
    """A job as its new version will have it, made of what it was when `outputs_before` were its outputs."""

    source: Record
    outputs_before: list[tuple[str, str]]
    target: Pipeline
    input: Wrapped
    outputs: Mapping[str, Wrapped]
    plan: Restart
    # Of which old steps the kept ones tell: (new name, old name).
    origins: list[tuple[str, str]]


async def _cast(
    pool: Pool, payloads: Payloads, job_id: UUID, registry: Registry, version: int | None
) -> _Cast:
    """Have the up-casters make a job's input and outputs anew: before the transaction, since that may take its time."""
    async with pool.connection() as conn:
        source = await restarts.read_source(conn, job_id)
        if source is None:
            raise NotFoundError(f"no job {job_id}: `rkyc jobs list` shows those that are kept")
        before = await restarts.read_outputs_of(conn, source["id"])
        is_undoing = await undo.is_undoing(conn, source["id"])
        graph = await restarts.read_version_graph(conn, source["pipeline"], source["version"])
    if is_undoing:
        raise ConflictError(f"job {job_id} is being undone, as its version alone knows how: wait for its end")
    if source["state"] is not None:
        raise ConflictError(
            f"job {job_id} has ended: one that failed or was cancelled is moved when it is started again (`rkyc jobs retry`)"
        )
    name = source["pipeline"]
    target = registry.latest(name) if version is None else registry.get(name, version)
    if target is None:
        raise NotFoundError(f"{name}@{version} is not known here: add it with --app MODULE:REGISTRY")
    outputs = {step: payload.decode(await payloads.unwrap(text)) for step, text in before}
    given = payload.decode(await payloads.unwrap(source["input"]))
    value, outputs = upcast(target, source["version"], given, outputs)
    plan = plan_restart(target.graph.describe(), set(outputs), [])
    if plan.items:
        raise ConflictError(
            f"job {job_id} has a map that is done: its items can't be moved; fork it after its end"
        )
    if not plan.again:
        raise ConflictError(
            f"job {job_id}: the up-caster leaves nothing to run: leave the last step's output out"
        )
    tenant = source["tenant"]
    kept = {one.step: await payloads.wrap(encode_input(outputs[one.step]), tenant) for one in plan.kept}
    # Without a worker that ever served the version no step of it was completed.
    older = {"steps": []} if graph is None else payload.decode(graph["graph"])
    origins = find_origins(older, {step for step, _ in before}, kept, {*target.graph.places})
    return _Cast(
        source, before, target, await payloads.wrap(encode_input(value), tenant), kept, plan, origins
    )


async def _move(conn: Connection, cast: _Cast, by: str) -> list[str]:
    source, target = cast.source, cast.target
    places = target.graph.places
    branches = {name: place.branch for name, place in places.items() if not place.map}
    # Leases first, then the children, then the forked job's row, then the sweep in a statement of its own.
    await commits.lock_leases(conn, source["id"])
    await migrations.move_children(conn, source["id"], branches, {*places})
    await jobs.lock_branching_row(conn, source["id"])
    # A turn that is passed on meanwhile must find the job, or have been taken by it.
    await schedules.lock_schedule_of_job(conn, source["id"])
    place = await migrations.lock_place(conn, source["id"], source["uuid"])
    if place is not None and place["kind"] == "turn" and len(cast.plan.starts) > 1:
        raise ConflictError(
            f"job {source['uuid']} waits for its turn and can't begin in branches: move it when it runs"
        )
    swept = await commits.sweep_tasks(conn, source["id"])
    if not swept or await restarts.read_outputs_of(conn, source["id"]) != cast.outputs_before:
        raise DatabaseConnectionError(f"job {source['uuid']}: a task is about to move")
    await migrations.move_journal(conn, source["id"], branches, {*places})
    lanes = await migrations.move_job(
        conn,
        source["id"],
        version=target.version,
        input=cast.input.text,
        outputs={step: output.text for step, output in cast.outputs.items()},
        plan=cast.plan,
        origins=cast.origins,
        # In its first step no checkpoint tells of it, and it has calls and signals to remember.
        started_at=min((one["started_at"] for one in swept if one["started_at"] is not None), default=None),
    )
    if place is not None:
        await migrations.hold_place(conn, source["id"], place)
        # Whoever looked for it in between must look again.
        lanes = ["due", NOTICE] if place["kind"] in ("scheduled", "fair") else []
    wrapped = (cast.input, *cast.outputs.values())
    await hold_blobs(conn, [(source["uuid"], one.blob) for one in wrapped])
    details = payload.encode({"from_version": source["version"], "version": target.version})
    await audit.write_entry(
        conn, who=by, action="job.migrate", kind="job", object=str(source["uuid"]), details=details
    )
    # Whoever holds a task of it learns that its lease is gone.
    return [*lanes, f"cancel:{source['id']}"]
