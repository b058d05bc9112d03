"""Looking at jobs: the reading half of the client. Payloads come back as the job saw them, wherever they are stored."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Protocol
from uuid import UUID

from rkyc.engine.history import read_history
from rkyc.engine.outputs import StepOutput, read_output
from rkyc.engine.payloads import Payloads
from rkyc.errors import NotFoundError, WorkerBaseException
from rkyc.flow import payload
from rkyc.flow.job_events import JobEvent
from rkyc.store.pool import Pool, Record
from rkyc.store.queue import jobs, listing
from rkyc.store.queue.why import read_why


class _Looker(Protocol):
    _payloads: Payloads

    async def pool(self) -> Pool: ...

    async def get(self, job_id: UUID) -> Record: ...

    async def show_payload(self, text: str | None) -> str | None: ...

    async def find_output(
        self, job_id: UUID, step: str | None = None, *, item: str | None = None
    ) -> StepOutput: ...


class Looking:
    """The part of `Client` that looks at jobs."""

    async def get(self: _Looker, job_id: UUID) -> Record:
        """Return the job's status row with input, result, warnings and usage as JSON text.

        Raises:
            NotFoundError
        """
        pool = await self.pool()
        async with pool.connection() as conn:
            row = await jobs.read_job(conn, job_id)
        if row is None:
            raise NotFoundError(f"no job {job_id}: `rkyc jobs list` shows those that are kept")
        shown = {name: await self.show_payload(row[name]) for name in ("input", "result")}
        if all(shown[name] is row[name] for name in shown):
            return row
        return {**row, **shown}  # type: ignore[return-value]

    async def show_payload(self: _Looker, text: str | None) -> str | None:
        """Return an input or an output as the job saw it, which may be stored in a blob, or sealed."""
        return await self._payloads.show(text)

    async def why(self: _Looker, job_id: UUID) -> Record:
        """Return why a job does not run (reason, why, remedy, facts as JSON text); raises NotFoundError as `get`."""
        pool = await self.pool()
        async with pool.connection() as conn:
            return await read_why(conn, job_id)

    async def steps(self: _Looker, job_id: UUID) -> list[Record]:
        """Return the job's steps in the graph's order."""
        pool = await self.pool()
        async with pool.connection() as conn:
            return await jobs.read_steps(conn, job_id)

    async def history(self: _Looker, job_id: UUID, *, after: int = 0, limit: int = 10_000) -> list[JobEvent]:
        """Return what happened to a job, in its order, at most so many events after the one with the id `after`.

        Past attempts are among them, with their errors, and the names of the workers that made them.

        Raises:
            NotFoundError
        """
        pool = await self.pool()
        async with pool.connection() as conn:
            return await read_history(conn, job_id, after=after, limit=limit)

    async def output(self: _Looker, job_id: UUID, step: str | None = None, *, item: str | None = None) -> Any:
        """Return what a step gave when it was done last, as the steps after it saw it; see `find_output`."""
        return payload.decode((await self.find_output(job_id, step, item=item)).text)

    async def find_output(
        self: _Looker, job_id: UUID, step: str | None = None, *, item: str | None = None
    ) -> StepOutput:
        """Return the newest output of a step as JSON text, opened; by default of the step that was done last.

        `item`: the key or number of an element, where the step is part of a map.

        Raises:
            NotFoundError: no such job, step or item; those there are are named.
            InvalidInputError: an item is to be named, or none.
            EncryptionError, StorageDownloadError: it can't be opened here.
        """
        pool = await self.pool()
        async with pool.connection() as conn:
            found = await read_output(conn, job_id, step, item)
        return replace(found, text=await self._payloads.unwrap(found.text))

    async def list_jobs(self: _Looker, **filters: Any) -> list[Record]:
        """Return status rows, newest first; filters as `store.queue.listing.list_jobs`."""
        pool = await self.pool()
        async with pool.connection() as conn:
            return await listing.list_jobs(conn, **filters)

    async def result(self: _Looker, job_id: UUID, timeout_s: float | None = None) -> Any:
        """Wait for the job's end and return its result.

        Raises:
            NotFoundError: no such job.
            WorkerBaseException: it failed or was cancelled; `details["error_code"]` says how.
            TimeoutError: not within `timeout_s`.
        """
        await self.get(job_id)
        pool = await self.pool()
        pause_s = 0.005
        async with asyncio.timeout(timeout_s):
            while True:
                async with pool.connection() as conn:
                    end = await jobs.read_end(conn, job_id)
                if end is not None:
                    break
                await asyncio.sleep(pause_s)
                pause_s = min(0.5, pause_s * 1.5)
        if end["state"] == "completed":
            return payload.decode(await self._payloads.unwrap(end["result"]))
        raise WorkerBaseException(
            f"job {job_id} {end['state']}: {end['error_message'] or 'by a person'}",
            {"error_code": end["error_code"], "status": end["state"]},
        )
