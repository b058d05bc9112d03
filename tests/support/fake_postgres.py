"""A server that speaks just enough of the Postgres protocol to be connected to, and no SQL."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

_AUTHENTICATION_OK = struct.pack("!I", 0)
_IDLE = b"I"


@contextlib.asynccontextmanager
async def fake_postgres(*, version: str, refused: str | None = None) -> AsyncIterator[str]:
    """Listen on a free port as a server of this version; yield its DSN.

    Like a pooler, it may refuse who names a certain start-up parameter.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            (length,) = struct.unpack("!I", await reader.readexactly(4))
            body = await reader.readexactly(length - 4)
            if refused is not None and f"\0{refused}\0".encode() in body:
                text = f"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: {refused}\0\0"
                writer.write(_message(b"E", text.encode()))
                await writer.drain()
                writer.close()
                return
            writer.write(_message(b"R", _AUTHENTICATION_OK))
            for name, value in {"server_version": version, "client_encoding": "UTF8"}.items():
                writer.write(_message(b"S", f"{name}\0{value}\0".encode()))
            writer.write(_message(b"K", struct.pack("!II", 4711, 0)) + _message(b"Z", _IDLE))
            await reader.readexactly(1)  # Terminate: the first thing a client says that does not like us
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"postgresql://user:secret@127.0.0.1:{port}/database?sslmode=disable"


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body
