"""Jobs of an old version moved to a newer one, by the up-casters that the newer one declares.

`Pipeline("orders", 2, …, upcast={(1, 2): fn})`: `fn(input, outputs)` gets a job's input and the outputs of its completed
steps by name, and returns both as version 2 would have them; a step that it leaves out runs again. A job is moved when a
person asks for it, or when a worker claims it whose version no live worker serves. In one transaction: its leases
are taken, so that nobody writes under the old version any more.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol
from uuid import UUID

from rkyc.engine.intake import encode_input
from rkyc.errors import ConflictError, DatabaseConnectionError, NotFoundError
from rkyc.flow import payload
from rkyc.flow.job import Claim
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.restart import plan_restart
from rkyc.store.pool import Connection, Pool
from rkyc.store.queue import audit, commits, jobs, migrations, restarts

_TRIES = 20
_GROUP = 100


class _HasPool(Protocol):
    async def pool(self) -> Pool: ...


class Migrating:
    """The part of `Client` that moves jobs between versions."""

    async def migrate(
        self: _HasPool, job_id: UUID, registry: Registry, *, version: int | None = None, by: str = "client"
    ) -> int:
        """Move a job that has not ended to a newer version, the registry's newest by default; return the version.

        Raises:
            NotFoundError
            ConflictError: it has ended, or no up-caster leads to the version.
        """
        return await move_job(await self.pool(), job_id, registry, version=version, by=by)

    async def migrate_all(
        self: _HasPool, pipeline: str, registry: Registry, *, version: int | None = None, by: str = "client"
    ) -> int:
        """Move all jobs of older versions of a pipeline that wait for a worker of theirs; return how many."""
        pool = await self.pool()
        target = registry.latest(pipeline).version if version is None else version
        count, after = 0, 0
        while True:
            async with pool.connection() as conn:
                rows = await migrations.list_blocked(conn, pipeline, target, after=after, limit=_GROUP)
            for row in rows:
                await move_job(pool, row["uuid"], registry, version=target, by=by)
                count += 1
            if len(rows) < _GROUP:
                return count
            after = rows[-1]["id"]


async def move_job(pool: Pool, job_id: UUID, registry: Registry, *, version: int | None, by: str) -> int:
    """See `Migrating.migrate`."""
    failure = DatabaseConnectionError(f"job {job_id}: a task is about to move")
    for _ in range(_TRIES):
        try:
            async with pool.transaction() as conn:
                target, lanes = await _move(conn, job_id, registry, version, by)
            async with pool.connection() as conn:
                await jobs.notify(conn, jobs.WAKE_CHANNEL, lanes)
            return target
        except DatabaseConnectionError as error:
            failure = error
        await asyncio.sleep(0.01)
    raise failure


async def move_blocked(pool: Pool, registry: Registry, claim: Claim) -> bool:
    """Move a claimed job whose version nobody serves, where an up-caster leads to a version served here."""
    newest = max(
        (one for one in registry if one.name == claim.pipeline), key=lambda one: one.version, default=None
    )
    if newest is None or not newest.upcast or newest.find_upcasts(claim.version) is None:
        return False
    async with pool.connection() as conn:
        if await migrations.is_served(conn, claim.pipeline, claim.version):
            return False
    await move_job(pool, claim.uuid, registry, version=newest.version, by="worker")
    return True


async def _move(
    conn: Connection, job_id: UUID, registry: Registry, version: int | None, by: str
) -> tuple[int, list[str]]:
    source = await restarts.read_source(conn, job_id)
    if source is None:
        raise NotFoundError(f"no job {job_id}: `rkyc jobs list` shows those that are kept")
    if source["state"] is not None:
        raise ConflictError(f"job {job_id} has ended: fork it to the other version")
    target = (
        registry.latest(source["pipeline"]) if version is None else registry.get(source["pipeline"], version)
    )
    if target is None:
        raise NotFoundError(
            f"{source['pipeline']}@{version} is not known here: add it with --app MODULE:REGISTRY"
        )
    # Leases first, then the forked job's row, then the sweep in a statement of its own.
    await commits.lock_leases(conn, source["id"])
    await jobs.lock_branching_row(conn, source["id"])
    swept = await commits.sweep_tasks(conn, source["id"])
    if not swept:
        raise DatabaseConnectionError(f"job {job_id}: a task is about to move")
    outputs = {
        row["step"]: payload.decode(row["output"])
        for row in await restarts.read_outputs_of(conn, source["id"])
    }
    value, outputs = upcast(target, source["version"], payload.decode(source["input"]), outputs)
    plan = plan_restart(target.graph.describe(), set(outputs), [])
    if plan.items:
        raise ConflictError(
            f"job {job_id} has a map that is done: its items can't be moved; fork it after its end"
        )
    if not plan.again:
        raise ConflictError(
            f"job {job_id}: the up-caster leaves nothing to run: leave the last step's output out"
        )
    kept = {one.step: encode_input(outputs[one.step]) for one in plan.kept}
    lanes = await migrations.move_job(
        conn, source["id"], version=target.version, input=encode_input(value), outputs=kept, plan=plan
    )
    details = payload.encode({"from_version": source["version"], "version": target.version})
    await audit.write_entry(
        conn, who=by, action="job.migrate", kind="job", object=str(job_id), details=details
    )
    # Whoever holds a task of it learns that its lease is gone.
    return target.version, [*lanes, f"cancel:{source['id']}"]


def upcast(target: Pipeline, version: int, value: Any, outputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return input and outputs as the target version has them.

    Raises:
        ConflictError: no up-casters lead there.
    """
    path = target.find_upcasts(version)
    if path is None:
        raise ConflictError(
            f"no up-caster leads from {target.name}@{version} to version {target.version}: declare "
            f"upcast={{({version}, {target.version}): fn}}"
        )
    for fn in path:
        value, outputs = fn(value, outputs)
    return value, outputs
