"""`ctx.emit`: an attempt's tokens, on their direct path to whoever watches.

They never enter the job's history, which keeps only where a stream began and ended. One writer per
process gathers what all its attempts emitted in a few milliseconds, one chunk for each of them, and
inserts it in one statement whose commit does not wait for the disk. Promised: chunks are written in
the order in which they were emitted, each once, while the lease holds; `close` returns after the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from rkyc.engine.clock import DatabaseClock
from rkyc.errors import DatabaseConnectionError, LeaseLostError, OutputInvalidError, StoreError
from rkyc.flow.job import Claim
from rkyc.store.connections import OwnConnection
from rkyc.store.pool import Pool
from rkyc.store.queue import streams
from rkyc.store.queue.streams import Chunk, Mark
from rkyc.telemetry import events
from rkyc.telemetry.logs import get_logger

_log = get_logger(__name__)

# How long a first token waits for company: below what an eye sees. Seconds.
LINGER_S = 0.004
# Attempts of one statement: the notice names their jobs, and Postgres takes 8,000 bytes.
GROUP_STREAMS_MAX = 256
# One chunk; a longer text becomes several. Characters.
CHUNK_CHARS_MAX = 16_000
# What waits for the database in a process before `emit` waits too. Characters.
PENDING_CHARS_MAX = 4_000_000
# Of one attempt: what is larger is no text that somebody reads as it comes. Characters.
ATTEMPT_CHARS_MAX = 20_000_000
# Before a group is sent again to a database that was away. Seconds.
_AGAIN_S = 0.2
# Ended jobs whose chunks one statement removes, how long those are kept for late clients, and the pause
# between two looks for them. Seconds.
_DROP_JOBS_MAX = 200
KEEP_S = 600.0
DROP_S = 60.0


class TokenStream:
    """The tokens of one attempt; made by `StreamWriter.open`."""

    __slots__ = (
        "_writer",
        "attempt",
        "chars",
        "claim",
        "closing",
        "is_lost",
        "is_marked",
        "number",
        "parts",
        "step",
    )

    def __init__(self, writer: StreamWriter, claim: Claim, step: str, attempt: int) -> None:
        self._writer = writer
        self.claim = claim
        self.step = step
        self.attempt = attempt
        # What waits to be written; the number of the next chunk; characters in all.
        self.parts: list[str] = []
        self.number = 0
        self.chars = 0
        # The beginning stands in the history; the lease is another's.
        self.is_marked = False
        self.is_lost = False
        # Answered when all is written; whether the end is to be marked.
        self.closing: tuple[asyncio.Future[None], bool] | None = None

    async def emit(self, text: str) -> None:
        """Queue a piece of text; waits only while the database is far behind.

        Raises:
            OutputInvalidError: not a text, or too much for one attempt.
            LeaseLostError: another worker has the task, or the job has ended: stop.
        """
        if not isinstance(text, str):
            raise OutputInvalidError(
                f"step {self.step} emitted {type(text).__name__}: ctx.emit takes text, the result is what the step returns"
            )
        if self.is_lost:
            raise LeaseLostError(f"job {self.claim.uuid}: step {self.step} emits without its lease")
        if not text:
            return
        text = _clean(text)
        self.chars += len(text)
        if self.chars > ATTEMPT_CHARS_MAX:
            raise OutputInvalidError(
                f"step {self.step} emitted more than {ATTEMPT_CHARS_MAX} characters: keep what is large in a table or a blob"
            )
        self.parts.append(text)
        await self._writer.note(self, len(text))

    async def close(self, *, completed: bool) -> None:
        """Wait until all that was emitted is written; with `completed` the history says how much it was."""
        if not self.chars or self.is_lost:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closing = (done, completed)
        await self._writer.note(self, 0)
        await done

    def take(self) -> Chunk | None:
        """Return the next chunk and forget its text; None: nothing waits."""
        if not self.parts:
            return None
        text = "".join(self.parts)
        self.parts = [text[CHUNK_CHARS_MAX:]] if len(text) > CHUNK_CHARS_MAX else []
        claim, number = self.claim, self.number
        self.number += 1
        return Chunk(
            claim.job_id, claim.branch, claim.fence, self.step, self.attempt, number, text[:CHUNK_CHARS_MAX]
        )

    def mark(self, *, is_end: bool) -> Mark:
        """Return what the history keeps of the beginning, or of the end."""
        claim = self.claim
        counts = (self.number, self.chars) if is_end else (0, 0)
        return Mark(
            claim.job_id, claim.branch, claim.fence, claim.events, self.step, self.attempt, is_end, *counts
        )

    def settle(self) -> None:
        """Answer whoever waits for the end."""
        if self.closing is not None and not self.closing[0].done():
            self.closing[0].set_result(None)


class StreamWriter:
    """Writes what the attempts of this process emit, in groups, on one connection.

    Of jobs that ended, chunks are kept for `keep_s` seconds, for clients that come late.
    """

    def __init__(self, *, pool: Pool, clock: DatabaseClock, keep_s: float = KEEP_S) -> None:
        self._clock = clock
        self._pool = pool
        self._keep = timedelta(seconds=keep_s)
        self._own = OwnConnection(pool, application_name="rkyc stream")
        # In the order of their first waiting token.
        self._waiting: dict[TokenStream, None] = {}
        self._pending_chars = 0
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()

    def open(self, claim: Claim, step: str, attempt: int) -> TokenStream:
        """Make the stream of an attempt; nothing is written before it emits."""
        return TokenStream(self, claim, step, attempt)

    async def note(self, stream: TokenStream, chars: int) -> None:
        """Take a stream's new text into the next group; wait while too much text waits."""
        self._pending_chars += chars
        self._waiting[stream] = None
        self._filled.set()
        while self._pending_chars > PENDING_CHARS_MAX:
            self._drained.clear()
            await self._drained.wait()

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            while True:
                await self._filled.wait()
                await asyncio.sleep(LINGER_S)
                await self.run_once()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._own.close()

    async def run_once(self) -> None:
        """Write one group of what waits: beginnings, then chunks, then ends."""
        group = sorted(list(self._waiting)[:GROUP_STREAMS_MAX], key=_lease)
        for stream in group:
            del self._waiting[stream]
        if not self._waiting:
            self._filled.clear()
        try:
            await self._write_group(group)
        except BaseException:
            # Nobody waits for ever: what they emitted is lost, what they return is not.
            for stream in group:
                stream.parts.clear()
                stream.settle()
            self._pending_chars = sum(len(part) for stream in self._waiting for part in stream.parts)
            self._drained.set()
            raise

    async def _write_group(self, group: Sequence[TokenStream]) -> None:
        begun = [stream for stream in group if not stream.is_marked and stream.parts]
        await self._write_marks(begun, is_end=False)
        await self._write_chunks(group, begun)
        for stream in group:
            if stream.parts:
                # More than one chunk holds, or emitted meanwhile.
                self._waiting[stream] = None
                self._filled.set()
        ended = [stream for stream in group if stream.closing is not None and not stream.parts]
        await self._write_marks([s for s in ended if s.closing and s.closing[1]], is_end=True)
        for stream in ended:
            self._waiting.pop(stream, None)
            stream.settle()

    async def _write_marks(self, group: Sequence[TokenStream], *, is_end: bool) -> None:
        group = [stream for stream in group if not stream.is_lost]
        if not group:
            return
        marks = [stream.mark(is_end=is_end) for stream in group]
        while True:
            try:
                async with self._own.connection() as conn:
                    held = await streams.write_marks(conn, marks, now=self._clock.now())
                break
            except (DatabaseConnectionError, StoreError) as error:
                await self._wait_out(error, len(marks))
        self._note_written(group, held)
        for stream in group:
            stream.is_marked = True

    async def _write_chunks(self, group: Sequence[TokenStream], begun: Sequence[TokenStream]) -> None:
        pairs = [(s, chunk) for s in group if not s.is_lost and (chunk := s.take()) is not None]
        chunks = [chunk for _, chunk in pairs]
        # Who watches a job's events is woken only where they have changed.
        told = set(begun)
        notice = ",".join(f"{s.claim.job_id}{'!' if s in told else ''}" for s, _ in pairs)
        held: set[tuple[int, int]] = set()
        is_unsure = False
        while chunks:
            try:
                async with self._own.connection() as conn:
                    if is_unsure:
                        landed = await streams.find_chunks(conn, chunks)
                        held |= {(c.job_id, c.branch) for n, c in enumerate(chunks) if n in landed}
                        chunks = [chunk for n, chunk in enumerate(chunks) if n not in landed]
                        is_unsure = False
                        continue
                    held |= await streams.write_chunks(conn, chunks, notice=notice)
                break
            except (DatabaseConnectionError, StoreError) as error:
                is_unsure = True
                await self._wait_out(error, len(chunks))
        self._note_written([stream for stream, _ in pairs], held)
        self._pending_chars -= sum(len(chunk.text) for _, chunk in pairs)
        self._drained.set()

    def _note_written(self, group: Sequence[TokenStream], held: set[tuple[int, int]]) -> None:
        """Whose lease did not hold is lost: what it emitted since goes nowhere."""
        for stream in group:
            if _lease(stream)[:2] not in held:
                stream.is_lost = True
                self._pending_chars -= sum(map(len, stream.parts))
                stream.parts.clear()

    async def _wait_out(self, error: Exception, rows: int) -> None:
        _log.warning(events.COMMIT_UNKNOWN, error=str(error), rows=rows)
        await asyncio.sleep(_AGAIN_S)

    async def drop_old(self) -> float | None:
        """Remove the chunks of jobs that ended a while ago; return the pause when more are left."""
        before = self._clock.now() - self._keep
        async with self._pool.connection() as conn:
            dropped = await streams.drop_streams(conn, before=before, limit=_DROP_JOBS_MAX)
        return 0.0 if dropped == _DROP_JOBS_MAX else None


def _lease(stream: TokenStream) -> tuple[int, int, int]:
    """Rows are locked in the order of their tasks."""
    claim = stream.claim
    return claim.job_id, claim.branch, claim.fence


def _clean(text: str) -> str:
    """Replace what Postgres can't hold: NUL, and half a surrogate pair."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
