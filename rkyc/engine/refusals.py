"""What keeps an ended job from being started again, whoever asks: said before anything is changed."""

from __future__ import annotations

from uuid import UUID

from rkyc.errors import ConflictError
from rkyc.store.pool import Connection
from rkyc.store.queue import deadlines, restarts


async def refuse_continued(conn: Connection, job_id: int, uuid: UUID) -> None:
    """Refuse to let a run go on a second time.

    Raises:
        ConflictError
    """
    if (next_run := await restarts.find_next_run(conn, job_id)) is not None:
        raise ConflictError(
            f"job {uuid} went on as job {next_run}: start that one again, or fork this one from the step that went on "
            "or one before it"
        )


async def refuse_passed_deadline(conn: Connection, job_id: int, uuid: UUID) -> None:
    """Refuse to start an ended job again that would fail by its deadline at once.

    Raises:
        ConflictError
    """
    passed_at = (await deadlines.find_passed_deadlines(conn, [job_id])).get(job_id)
    if passed_at is not None:
        raise ConflictError(
            f"job {uuid} can't be started again, its deadline of {passed_at.isoformat(timespec='seconds')} has passed: "
            "fork it (a fork has none)"
        )
