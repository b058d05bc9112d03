"""The handshake that tells a serving Postgres from a dying one, a starting one and none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rkyc.store import server_probe
from rkyc.store.embedded import EmbeddedServer
from rkyc.store.server_probe import Answer, probe

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def answering(path: Path, answer: bytes | None) -> AsyncIterator[None]:
    """Listen at `path`; answer a start-up message with these bytes and hang up, or (None) never answer."""
    silent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            await silent.wait()
        elif answer:
            (length,) = struct.unpack("!I", await reader.readexactly(4))
            await reader.readexactly(length - 4)
            writer.write(answer)
        # Without reading: the system resets the connection instead of ending it.
        writer.close()

    async with await asyncio.start_unix_server(serve, str(path)):
        try:
            yield
        finally:
            silent.set()


def refusal(code: str) -> bytes:
    body = f"SFATAL\0VFATAL\0C{code}\0Mno\0\0".encode()
    return b"E" + struct.pack("!I", len(body) + 4) + body


async def test_a_server_that_serves_is_ready(postgres_server: EmbeddedServer) -> None:
    assert await probe(postgres_server.socket_dir / ".s.PGSQL.5432") is Answer.READY


async def test_nobody_is_absent(tmp_path: Path) -> None:
    assert await probe(tmp_path / "none") is Answer.ABSENT
    assert await probe(tmp_path / "no" / "folder") is Answer.ABSENT


async def test_a_socket_whose_server_is_gone_is_absent(tmp_path: Path) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(str(tmp_path / "left"))
    assert await probe(tmp_path / "left") is Answer.ABSENT


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refusal("57P03"), Answer.BUSY),  # starting up, recovering, shutting down
        (refusal("53300"), Answer.READY),  # too many connections: it is up
        (b"R\0\0\0\x08\0\0\0\0", Answer.READY),
        (b"R\0", Answer.BUSY),  # cut off in mid-answer
        (b"", Answer.BUSY),  # killed just as it accepted
    ],
    ids=["starting", "full", "ready", "cut", "reset"],
)
async def test_what_it_answers_decides(tmp_path: Path, answer: bytes, expected: Answer) -> None:
    async with answering(tmp_path / "s", answer):
        for _ in range(20):  # a reset may hit any step of the handshake
            assert await probe(tmp_path / "s") is expected


async def test_silence_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_probe, "_PATIENCE_S", 0.05)
    async with answering(tmp_path / "s", None):
        assert await probe(tmp_path / "s") is Answer.BUSY
