"""Pause and resume: the client's side, and what a worker makes of what is paused.

A job is paused in one transaction, as it is cancelled: its leases are taken, so that nothing of it is written
any more, and its tasks wait. A lane, pipeline or tenant is paused by a row that workers read with each beat (a
notice makes it sooner): what they begin until then they finish up to the next checkpoint. So the pause holds at
the latest one beat and one step after it was made, whatever becomes of notices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias
from uuid import UUID

from rkyc.errors import ConflictError, DatabaseConnectionError, InvalidInputError, NotFoundError, RkycError
from rkyc.flow import payload
from rkyc.flow.job import Claim
from rkyc.store.pool import Connection, Pool, Record
from rkyc.store.queue import audit, breakers, commits, jobs, pauses, waits

PauseKind: TypeAlias = Literal["lane", "pipeline", "tenant"]
NAME_CHARS_MAX = 255
# A task that moves between two tables is looked for again on a fresh snapshot.
_TRIES = 20
_WAKE_ROWS = 1000
# A lease of a worker that missed the resume for so long was taken from it. Seconds.
_RESUMED_KEPT_S = 300.0
_NOTICE = "pause"


class _HasPool(Protocol):
    async def pool(self) -> Pool: ...


class Pausing:
    """The part of `Client` that holds work back and lets it go on."""

    async def pause(self: _HasPool, job_id: UUID, reason: str | None = None, *, by: str = "client") -> bool:
        """Pause a job at its last checkpoints, at once; a running step is stopped, uncharged. False: it has ended.

        Raises:
            NotFoundError
            ConflictError: it waits in a line that it must not leave, or nothing was done: try again.
        """
        pool = await self.pool()
        async with pool.connection() as conn:
            job = await _find_job(conn, job_id)
        failure: RkycError = ConflictError(
            f"job {job_id} could not be caught between two moves: pause it again"
        )
        for _ in range(_TRIES):
            try:
                async with pool.transaction() as conn:
                    if await jobs.is_finished(conn, job["id"]) is not None:
                        return False
                    # Leases first, then the forked job's row, then the sweep in a statement of its own.
                    fences = [fence for _, fence in await commits.lock_leases(conn, job["id"])]
                    await jobs.lock_branching_row(conn, job["id"])
                    # After the locks: a map that is just being spread has items that keep a place.
                    if (line := await pauses.find_kept_place(conn, job["id"])) is not None:
                        raise ConflictError(
                            f"job {job_id} waits for its {line}: pause what it waits for, or its pipeline"
                        )
                    detail = f"the job is paused by {by}" + (f": {reason}" if reason else "")
                    if await pauses.pause_job(conn, job["id"], job_id, fences=fences, detail=detail) is None:
                        raise DatabaseConnectionError(f"job {job_id}: a task is about to move")
                    await _note(conn, by, "job.pause", "job", str(job_id), reason)
                async with pool.connection() as conn:
                    await jobs.notify(conn, jobs.WAKE_CHANNEL, [f"cancel:{job['id']}"])
                return True
            except DatabaseConnectionError as error:
                failure = error
            await asyncio.sleep(0.01)
        raise failure

    async def resume(self: _HasPool, job_id: UUID, *, by: str = "client") -> bool:
        """Let a paused job go on where it was; False: it is not paused itself.

        Raises:
            NotFoundError
        """
        pool = await self.pool()
        async with pool.transaction() as conn:
            job = await _find_job(conn, job_id)
            lanes = await pauses.resume_job(conn, job["id"], job_id)
            if not lanes:
                return False
            await _note(conn, by, "job.resume", "job", str(job_id), None)
        async with pool.connection() as conn:
            await jobs.notify(conn, jobs.WAKE_CHANNEL, lanes)
        return True

    async def pause_all(
        self: _HasPool, kind: PauseKind, name: str, reason: str | None = None, *, by: str = "client"
    ) -> bool:
        """Start nothing more of a lane, a pipeline or a tenant; running steps end, and their jobs wait behind them.

        False: it was paused already. It holds one beat (5 s by default) and one step later at the latest.

        Raises:
            NotFoundError: no such lane or pipeline.
            InvalidInputError: no tenant can have such a name.
        """
        _check_name(kind, name)
        pool = await self.pool()
        async with pool.transaction() as conn:
            names = await pauses.list_names(conn, kind)
            if names is not None and name not in names:
                known = ", ".join(names) or "none"
                raise NotFoundError(f"no {kind} is called {name!r}: this database knows {known}")
            if not await pauses.add_pause(conn, kind=kind, name=name, reason=reason, paused_by=by):
                return False
            await _note(conn, by, f"{kind}.pause", kind, name, reason)
        async with pool.connection() as conn:
            await jobs.notify(conn, jobs.WAKE_CHANNEL, [_NOTICE])
        return True

    async def resume_all(self: _HasPool, kind: PauseKind, name: str, *, by: str = "client") -> bool:
        """Let a lane, a pipeline or a tenant go on; False: it was not paused.

        Raises:
            InvalidInputError: none can have such a name.
        """
        _check_name(kind, name)
        pool = await self.pool()
        async with pool.transaction() as conn:
            if not await pauses.end_pause(conn, kind=kind, name=name):
                return False
            await _note(conn, by, f"{kind}.resume", kind, name, None)
        async with pool.connection() as conn:
            await wake_paused(conn, f"{kind}:{name}")
            await jobs.notify(conn, jobs.WAKE_CHANNEL, [_NOTICE, "*"])
        return True

    async def pauses(self: _HasPool) -> list[Record]:
        """Return what lanes, pipelines and tenants are paused: kind, name, reason, paused_by, since."""
        pool = await self.pool()
        async with pool.connection() as conn:
            return await pauses.list_pauses(conn)

    async def close_breaker(self: _HasPool, provider: str, *, by: str = "client") -> bool:
        """Let a provider that failed be asked again at once, by everyone; False: it had not failed."""
        pool = await self.pool()
        async with pool.transaction() as conn:
            if not await breakers.close_breaker(conn, provider):
                return False
            await _note(conn, by, "breaker.close", "breaker", provider, None)
        return True


class Pauses:
    """What a worker knows to be paused, as of its last beat."""

    def __init__(self, *, lanes: frozenset[str], on_change: Callable[[frozenset[str]], None]) -> None:
        self._lanes = lanes
        self._on_change = on_change
        # `kind:name` of what may hold back a claimed task: pipelines and tenants.
        self.keys: frozenset[str] = frozenset()
        self._known: tuple[str, ...] = ()

    def note(self, keys: Sequence[str]) -> bool:
        """Take over what a beat read, as `kind:name`; return whether something changed."""
        if tuple(keys) == self._known:
            return False
        self._known = tuple(keys)
        self.keys = frozenset(key for key in keys if not key.startswith("lane:"))
        self._on_change(frozenset(lane for lane in self._lanes if f"lane:{lane}" not in keys))
        return True

    def find(self, claim: Claim) -> str | None:
        """Return what holds a task back, or None."""
        key = f"pipeline:{claim.pipeline}"
        if key in self.keys:
            return key
        tenant = (claim.traits or {}).get("tenant")
        return key if tenant is not None and (key := f"tenant:{tenant}") in self.keys else None


async def wake_paused(conn: Connection, key: str) -> int:
    """Wake all tasks that wait for a pause to end, in groups; return how many."""
    total = 0
    while woken := await waits.wake_tasks(conn, "paused", key, _WAKE_ROWS):
        total += len(woken)
    return total


async def keep_resumed(conn: Connection, keys: Sequence[str]) -> int:
    """Wake what was held back after its pause had ended, and forget old pauses; return how many were woken."""
    total = 0
    for key in keys:
        total += await wake_paused(conn, key)
    await pauses.forget_pauses(conn, _RESUMED_KEPT_S)
    return total


def _check_name(kind: str, name: str) -> None:
    if not (1 <= len(name) <= NAME_CHARS_MAX and payload.is_storable(name)):
        raise InvalidInputError(
            f"no {kind} can be called {name[:40]!r}: expected 1 to {NAME_CHARS_MAX} characters that can be stored"
        )


async def _find_job(conn: Connection, job_id: UUID) -> Record:
    job = await jobs.find_job(conn, job_id)
    if job is None:
        raise NotFoundError(f"no job {job_id}: `rkyc jobs list` shows those that are kept")
    return job


async def _note(conn: Connection, by: str, action: str, kind: str, object: str, reason: str | None) -> None:
    details = payload.encode({"reason": reason}) if reason else None
    await audit.write_entry(conn, who=by, action=action, kind=kind, object=object, details=details)
