"""Payloads at the edge of the database: what is large goes to a blob, what is to be sealed is sealed.

Packing and sealing happen here and nowhere else, for a job's input and for the outputs of its steps. The bytes are
committed before the row that names them; the transaction of that row touches the blob, so that the collector can't
take it in between. Small payloads without a codec pass by: they cost a comparison.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import random
import zlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from rkyc.errors import DatabaseConnectionError, EncryptionError, StorageDownloadError
from rkyc.flow import payload
from rkyc.flow.envelope import Codec, Envelope, may_hold, read_envelope
from rkyc.flow.job import Claim
from rkyc.flow.outcome import Advance, Arrive, Continue, Finish, Fork, Outcome, Spread
from rkyc.store import blobs
from rkyc.store.pool import Connection, Pool

# The fastest level: 4.2 times smaller at 108 MB/s, where level 6 gives 5.9 at 19 MB/s (JSON of mixed text, measured).
_PACK_LEVEL = 1
# Below this packing gains little, and Postgres packs long values itself. Bytes.
_PACK_ABOVE = 4_096
# Above this it would hold up the loop: in a thread. Bytes.
_THREAD_ABOVE = 1_000_000


class Wrapped(NamedTuple):
    """A payload as its row holds it, and the blob that the row's transaction must touch."""

    text: str
    blob: str | None


class Payloads:
    """Wraps and opens payloads; `codec` seals all of them.

    `inline_max`: a payload of more bytes is to be wrapped.
    """

    def __init__(self, open_pool: Callable[[], Awaitable[Pool]], codec: Codec | None = None) -> None:
        self._open_pool = open_pool
        self._codec = codec
        self.inline_max = payload.INLINE_BYTES_MAX if codec is None else -1

    async def wrap(self, text: str, tenant: str) -> Wrapped:
        """Pack, seal and store what is to be; the bytes of a blob are committed when this returns.

        Raises:
            DatabaseConnectionError, EncryptionError
        """
        if len(text) <= self.inline_max:
            return Wrapped(text, None)
        data = text.encode()
        size, packing, key = len(data), None, None
        if size > _PACK_ABOVE:
            packing, data = "zlib", await _run(zlib.compress, data, _PACK_LEVEL)
        if self._codec is not None:
            key, data = await self._codec.seal(data, tenant)
        about = Envelope(size, packing, key, tenant if key is not None else None)
        if size <= payload.INLINE_BYTES_MAX:
            return Wrapped(dataclasses.replace(about, data=base64.b64encode(data).decode()).to_text(), None)
        pool = await self._open_pool()
        async with pool.connection() as conn:
            sha256 = await blobs.write_payload(conn, data)
        return Wrapped(dataclasses.replace(about, blob=sha256).to_text(), sha256)

    async def wrap_all(self, texts: Sequence[str], tenant: str) -> list[Wrapped] | None:
        """Wrap many; None: all of them stay as they are.

        Raises:
            DatabaseConnectionError, EncryptionError
        """
        if max(map(len, texts), default=0) <= self.inline_max:
            return None
        return [await self.wrap(text, tenant) for text in texts]

    async def unwrap(self, text: str) -> str:
        """Return JSON text with every envelope in it opened.

        Raises:
            StorageDownloadError: its blob is not there.
            EncryptionError: it can't be opened here: no codec, or its key was deleted.
        """
        if not may_hold(text):
            return text
        value = payload.decode(text)
        envelope = read_envelope(value)
        if envelope is not None:
            return await self._open(envelope)
        return payload.encode(await self._open_within(value))

    async def show(self, text: str | None) -> str | None:
        """Return JSON text for people: what can't be opened is shown as the envelope that it is."""
        if text is None or not may_hold(text):
            return text
        try:
            return await self.unwrap(text)
        except (EncryptionError, StorageDownloadError):
            return text

    async def _open_within(self, value: Any) -> Any:
        envelope = read_envelope(value)
        if envelope is not None:
            return payload.decode(await self._open(envelope))
        if isinstance(value, dict):
            return {name: await self._open_within(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [await self._open_within(inner) for inner in value]
        return value

    async def _open(self, envelope: Envelope) -> str:
        if envelope.blob is not None:
            pool = await self._open_pool()
            async with pool.connection() as conn:
                data = await blobs.read_blob(conn, envelope.blob)
        else:
            data = base64.b64decode(envelope.data or "")
        if envelope.key is not None:
            if self._codec is None:
                raise EncryptionError(
                    f"a payload is sealed under key {envelope.key}, and this process has no codec: set ENCRYPTION_KEY"
                )
            data = await self._codec.open(data, envelope.tenant or "", envelope.key)
        if envelope.packing is not None:
            data = await _run(zlib.decompress, data)
        return data.decode()

    async def store(self, outcome: Outcome) -> Outcome:
        """Wrap what an outcome leaves: the output of a completed step, the elements of a map, the input of a next run.

        Its commit touches the blobs. Waits while the database is away.

        Raises:
            EncryptionError
        """
        while True:
            try:
                if isinstance(outcome, Continue):
                    wrapped = await self.wrap(outcome.input, tenant_of(outcome.claim))
                    return dataclasses.replace(outcome, input=wrapped.text, blob=wrapped.blob)
                if isinstance(outcome, (Advance, Finish, Fork, Spread, Arrive)):
                    return await self._wrap_done(outcome)
                return outcome
            except DatabaseConnectionError:
                await asyncio.sleep(random.uniform(0.1, 0.3))

    async def _wrap_done(self, outcome: Advance | Finish | Fork | Spread | Arrive) -> Outcome:
        claim = outcome.claim
        wrapped = await self.wrap(outcome.done.output, tenant_of(claim))
        if isinstance(outcome, Spread):
            outcome = await self._wrap_elements(outcome, claim)
        done = outcome.done
        save = done.save
        if wrapped.blob is not None:
            save = _holding(wrapped.blob, claim.job_id, save)
        done = done._replace(output=wrapped.text, save=save)
        if isinstance(outcome, (Advance, Finish)):
            return outcome._replace(done=done)
        return dataclasses.replace(outcome, done=done)

    async def _wrap_elements(self, outcome: Spread, claim: Claim) -> Spread:
        """Wrap what the items of a map begin with, each for itself: no item reads the whole list."""
        texts, save = [], outcome.done.save
        for element in outcome.elements:
            wrapped = await self.wrap(element, tenant_of(claim))
            texts.append(wrapped.text)
            if wrapped.blob is not None:
                save = _holding(wrapped.blob, claim.job_id, save)
        return dataclasses.replace(outcome, elements=tuple(texts), done=outcome.done._replace(save=save))


async def hold_blobs(conn: Connection, held: Iterable[tuple[UUID, str | None]]) -> None:
    """Touch what new jobs name, (job, blob or None) each, in the transaction that enqueues them.

    Raises:
        StorageDownloadError: the collector took one in this very moment; enqueue again.
    """
    for job_id, blob in held:
        if blob is not None and not await blobs.hold_for_uuid(conn, blob, job_id):
            raise _collected(blob)


def add_tenant(traits: str | None, tenant: str) -> str | None:
    """Return a job's traits, as JSON text, with whose job it is."""
    return payload.encode({**(payload.decode(traits) or {}), "tenant": tenant}) if tenant else traits


def tenant_of(claim: Claim) -> str:
    """Return whose job it is, "" for one of nobody's."""
    return str(claim.traits.get("tenant", "")) if claim.traits_json is not None and claim.traits else ""


def _holding(blob: str, job_id: int, save: Any) -> Any:
    async def hold(conn: Connection, value: Any) -> None:
        if not await blobs.hold_for_job(conn, blob, job_id):
            raise _collected(blob)
        if save is not None:
            await save(conn, value)

    return hold


def _collected(blob: str) -> StorageDownloadError:
    return StorageDownloadError(
        f"blob {blob[:12]}… was collected before its row was committed: try again", {"sha256": blob}
    )


async def _run(function: Callable[..., bytes], data: bytes, *more: int) -> bytes:
    if len(data) <= _THREAD_ABOVE:
        return function(data, *more)
    return await asyncio.to_thread(function, data, *more)
