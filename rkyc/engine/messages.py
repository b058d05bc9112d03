"""Messages from outside: a signal to one job, an event to all that wait for its topic.

Those of people are noted in the audit trail, in the transaction that sends them.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Iterator
from typing import Any, Protocol
from uuid import UUID

from rkyc.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    OutputInvalidError,
    PayloadTooLargeError,
)
from rkyc.flow import payload
from rkyc.store.pool import Connection, Pool, refuse_data_errors
from rkyc.store.queue import audit, signals, topics

# Where webhooks come in.
HOOKS = "/api/v1/hooks"
NAME_CHARS_MAX = 200
# What is larger belongs into a blob. Bytes.
PAYLOAD_BYTES_MAX = 2_000_000
# Doors at which a message is noted in the audit trail. Programs and webhooks send thousands, and an entry for each
# would bury what people did. What was said is not noted: `rkyc.signal` and `rkyc.published` hold it.
SOURCES_OF_PEOPLE = frozenset({"api", "cli"})


class _HasPool(Protocol):
    async def pool(self) -> Pool: ...


class Messaging:
    """The part of `Client` that sends messages to jobs."""

    async def signal(
        self: _HasPool,
        job_id: UUID,
        name: str,
        payload: Any = None,
        *,
        delivery_id: str | None = None,
        source: str = "client",
        by: str = "client",
        conn: Connection | None = None,
    ) -> bool:
        """Send a signal to a job, now or before it waits; False: this delivery came before, and counts once.

        With `conn` it is part of the caller's transaction, and is sent when that commits. `source` is the door it
        comes by; at a door that people use (`SOURCES_OF_PEOPLE`) the audit trail notes that `by` sent it.

        Raises:
            NotFoundError: no such job.
            ConflictError: the job has ended.
            InvalidInputError, PayloadTooLargeError: the name or the payload can't be taken.
        """
        options: dict[str, Any] = {"source": source, "by": by, "delivery_id": delivery_id}
        if conn is not None:
            return await send_signal(conn, job_id, name, payload, **options)
        pool = await self.pool()
        # A signal alone is one statement, and needs no transaction around it.
        async with pool.transaction() if source in SOURCES_OF_PEOPLE else pool.connection() as own:
            return await send_signal(own, job_id, name, payload, **options)

    async def publish(
        self: _HasPool,
        topic: str,
        payload: Any = None,
        *,
        source: str = "client",
        by: str = "client",
        conn: Connection | None = None,
    ) -> int:
        """Publish an event to all jobs that wait for its topic; return how many waiting tasks it woke.

        `source` and `by` as for `signal`.

        Raises:
            InvalidInputError, PayloadTooLargeError: the topic or the payload can't be taken.
        """
        if conn is not None:
            return await publish_event(conn, topic, payload, source=source, by=by)
        pool = await self.pool()
        async with pool.transaction() as own:
            return await publish_event(own, topic, payload, source=source, by=by)


async def send_signal(
    conn: Connection,
    job_id: UUID,
    name: str,
    value: Any,
    *,
    source: str,
    by: str,
    delivery_id: str | None = None,
) -> bool:
    """Send a signal and wake who waits for it; False: this delivery came before. What people send: in a transaction.

    Raises:
        NotFoundError: no such job.
        ConflictError: the job has ended.
        InvalidInputError, PayloadTooLargeError: the name or the payload can't be taken.
    """
    _check_name("signal", name)
    if delivery_id is not None:
        _check_name("delivery", delivery_id)
    text = _encode("signal", value)
    with _refuse_data("the signal"):
        said = await signals.give_signal(
            conn, job_uuid=job_id, name=name, payload=text, source=source, delivery_id=delivery_id
        )
    if said == "unknown":
        raise NotFoundError(f"no job {job_id}: `rkyc jobs list` shows those that are kept")
    if said == "ended":
        raise ConflictError(f"job {job_id} has ended: only one that is pending or running takes signals")
    if said == "given" and source in SOURCES_OF_PEOPLE:
        about = {"name": name} | ({} if delivery_id is None else {"delivery_id": delivery_id})
        await audit.write_entry(
            conn,
            who=by,
            action="job.signal",
            kind="job",
            object=str(job_id),
            details=payload.encode(about),
        )
    return said == "given"


async def publish_event(conn: Connection, topic: str, value: Any, *, source: str, by: str) -> int:
    """Publish an event and return how many waiting tasks it woke; call it in a transaction.

    Raises:
        InvalidInputError, PayloadTooLargeError: the topic or the payload can't be taken.
    """
    _check_name("topic", topic)
    text = _encode("event", value)
    with _refuse_data("the event"):
        woken = await topics.publish_event(conn, topic, text)
    if source in SOURCES_OF_PEOPLE:
        await audit.write_entry(
            conn,
            who=by,
            action="event.publish",
            kind="topic",
            object=topic,
            details=payload.encode({"woken": woken}),
        )
    return woken


def derive_hook_key(master: str, job_id: UUID, name: str) -> bytes:
    """Return the key that webhooks for one signal of one job are signed with; 32 bytes."""
    return hmac.digest(master.encode(), f"{job_id}/{name}".encode("utf-8", "surrogateescape"), hashlib.sha256)


@contextlib.contextmanager
def _refuse_data(subject: str) -> Iterator[None]:
    """What Postgres says about the caller's value is the caller's mistake."""
    try:
        with refuse_data_errors(subject):
            yield
    except OutputInvalidError as error:
        raise InvalidInputError(str(error), error.details) from error


def _check_name(what: str, name: str) -> None:
    if not 1 <= len(name) <= NAME_CHARS_MAX or not payload.is_storable(name):
        raise InvalidInputError(
            f"{what} {name[:50]!r} has {len(name)} characters: expected 1 to {NAME_CHARS_MAX} of valid text, and no NUL"
        )


def _encode(what: str, value: Any) -> str:
    try:
        text = payload.encode(value)
    except OutputInvalidError as error:
        raise InvalidInputError(f"the {what}'s payload can't be stored: {error}") from error
    if len(text) > PAYLOAD_BYTES_MAX:
        raise PayloadTooLargeError(
            f"the {what}'s payload has {len(text)} bytes, at most {PAYLOAD_BYTES_MAX} are taken: "
            "store it as a blob and pass its sha256"
        )
    return text
