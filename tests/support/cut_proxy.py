"""A proxy between a worker and Postgres that cuts connections around their commits.

It listens on a unix socket of its own and understands just enough of the protocol to know whose
connection it is (`application_name`), where a message ends, and what commits: an Execute outside a
transaction block, or a COMMIT. `Cut.BEFORE`: the message never arrives. `Cut.AFTER`: it arrives, the
client is cut at once. `Cut.ANSWER`: it is done, and its answer is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit


class Cut(enum.Enum):
    BEFORE = "before"
    AFTER = "after"
    ANSWER = "answer"


# (application name, number of this commit on its connection) -> how to cut it, or None.
Decide = Callable[[str, int], Cut | None]


def cut_at_random(seed: int, chance: float, names: tuple[str, ...]) -> Decide:
    """Cut commits of these connections with a chance, in all three ways."""
    dice = random.Random(seed)

    def decide(name: str, number: int) -> Cut | None:
        # The first statements of a connection set it up.
        if name not in names or number < 1 or dice.random() >= chance:
            return None
        return dice.choice(list(Cut))

    return decide


class CutProxy:
    """`dsn` leads through it; `cuts` counts what was cut, by (name, way)."""

    def __init__(self, target: str, folder: Path, decide: Decide) -> None:
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        host = query["host"][0]
        port = int(query.get("port", ["5432"])[0])
        self._target = f"{host}/.s.PGSQL.{port}"
        self._path = folder / f".s.PGSQL.{port}"
        self._decide = decide
        query["host"] = [str(folder)]
        self.dsn = parts._replace(query=urlencode(query, doseq=True)).geturl()
        self.cuts: Counter[tuple[str, Cut]] = Counter()
        self.is_on = True

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[CutProxy]:
        server = await asyncio.start_unix_server(self._serve, str(self._path))
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.close()
            return
        await _Connection(self, (reader, writer), (up_reader, up_writer)).run()


class _Connection:
    """One client's connection and its twin to the server."""

    def __init__(
        self,
        proxy: CutProxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._client_reader, self._client = client
        self._server_reader, self._server = server
        self._name = ""
        self._commits = 0
        self._awaits: Cut | None = None

    async def run(self) -> None:
        answers = asyncio.create_task(self._relay_answers())
        try:
            await self._relay_requests()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            answers.cancel()
            for writer in (self._client, self._server):
                writer.close()

    async def _relay_requests(self) -> None:
        (size,) = struct.unpack(">I", head := await self._client_reader.readexactly(4))
        body = await self._client_reader.readexactly(size - 4)
        fields = body[4:].rstrip(b"\0").split(b"\0")
        self._name = dict(zip(fields[::2], fields[1::2], strict=False)).get(b"application_name", b"").decode()
        self._server.write(head + body)
        while True:
            head = await self._client_reader.readexactly(5)
            (size,) = struct.unpack(">I", head[1:])
            body = await self._client_reader.readexactly(size - 4)
            cut = self._judge(head[:1], body)
            if cut is Cut.BEFORE:
                return
            if cut is Cut.ANSWER:
                self._awaits = cut
            self._server.write(head + body)
            if cut is Cut.AFTER:
                # With its Sync, so that the server does what it was asked before it sees the end.
                self._server.write(b"S\0\0\0\4")
                await self._server.drain()
                return

    def _judge(self, kind: bytes, body: bytes) -> Cut | None:
        is_commit = (kind == b"E" and self._name != "rkyc") or (kind == b"Q" and body.startswith(b"COMMIT"))
        if not is_commit or not self._proxy.is_on:
            return None
        self._commits += 1
        cut = self._proxy._decide(self._name, self._commits)
        if cut is not None:
            self._proxy.cuts[self._name, cut] += 1
        return cut

    async def _relay_answers(self) -> None:
        try:
            while data := await self._server_reader.read(65536):
                if self._awaits is not None:
                    # ReadyForQuery, in whatever state: the statement is over.
                    if data[-6:-1] == b"Z\0\0\0\5":
                        break
                    continue
                self._client.write(data)
        except OSError:
            pass
        self._client.close()
        self._server.close()
