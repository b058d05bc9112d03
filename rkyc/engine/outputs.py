"""The output of one step of a job, found by the step's name and, in a map, by the item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from rkyc.errors import InvalidInputError, NotFoundError
from rkyc.flow import payload
from rkyc.flow.graph import ITEMS_SPAN, MAP_ITEMS_MAX
from rkyc.store.pool import Connection, Record
from rkyc.store.queue import jobs, outputs

# So many names are told to somebody who asked for one that is not there.
_NAMES_TOLD = 20


@dataclass(frozen=True, slots=True)
class StepOutput:
    """`text` is JSON; `item` and `item_key` say which element of a map's list it is about."""

    step: str
    text: str
    item: int | None = None
    item_key: str | None = None


async def read_output(conn: Connection, job_id: UUID, step: str | None, item: str | None) -> StepOutput:
    """Return the newest output of a step as it is stored, by default of the step that was done last.

    `item`: its key, else its number, where the step ran once per element of a map.

    Raises:
        NotFoundError: no such job, step or item; those there are are named.
        InvalidInputError: an item is to be named, or none.
    """
    job = await jobs.find_job(conn, job_id)
    if job is None:
        raise NotFoundError(f"no job {job_id}: `rkyc jobs list` shows those that are kept")
    steps = {row["step"]: row["items"] for row in await outputs.list_output_steps(conn, job["id"])}
    if not steps:
        raise NotFoundError(f"job {job_id} has no output yet: none of its steps has completed")
    name = [*steps][-1] if step is None else step
    if name not in steps:
        raise NotFoundError(f"job {job_id} has no output of a step {name[:63]!r}: there is {_tell([*steps])}")
    if not steps[name]:
        if item is not None:
            raise InvalidInputError(f"step {name} of job {job_id} ran once, not per item: leave the item out")
        return StepOutput(name, await _read(conn, job, job_id, name, None))
    found = await _find_item(conn, job, name, item, steps[name])
    text = await _read(conn, job, job_id, name, found["branch"])
    return StepOutput(name, text, found["branch"] % ITEMS_SPAN, found["key"])


async def _read(conn: Connection, job: Record, job_id: UUID, step: str, branch: int | None) -> str:
    text = await outputs.read_step_output(conn, job["id"], step, branch)
    if text is None:
        raise NotFoundError(f"job {job_id} was started again meanwhile: step {step} has no output any more")
    return text


async def _find_item(conn: Connection, job: Record, step: str, item: str | None, items: int) -> Record:
    """Return (branch, key) of the item: a key goes before a number, since keys may be numbers."""
    where = f"step {step} ran once per item of a map"
    if item is None:
        told = await _list(conn, job, step, None)
        raise InvalidInputError(f"{where}: name one of {items}, by its key or number: {_tell_keys(told)}")
    found = await _list(conn, job, step, item) if payload.is_storable(item) else []
    found = [row for row in found if row["key"] == item] or found
    if not found:
        told = await _list(conn, job, step, None)
        raise NotFoundError(f"{where}, and none of {items} is {item[:63]!r}: there is {_tell_keys(told)}")
    if len(found) > 1:
        numbers = [str(row["branch"] % ITEMS_SPAN) for row in found]
        raise InvalidInputError(
            f"{where}, and several have the key {item[:63]!r}: name one by its number: {_tell(numbers)}"
        )
    return found[0]


async def _list(conn: Connection, job: Record, step: str, item: str | None) -> list[Record]:
    is_number = (
        item is not None and item.isascii() and item.isdecimal() and len(item) <= len(str(MAP_ITEMS_MAX))
    )
    return await outputs.list_step_items(
        conn,
        job["id"],
        step,
        key=item,
        number=int(item) if item is not None and is_number else None,
        limit=_NAMES_TOLD + 1,
    )


def _tell_keys(rows: Sequence[Record]) -> str:
    return _tell([row["key"] for row in rows])


def _tell(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES_TOLD]) + (", …" if len(names) > _NAMES_TOLD else "")
