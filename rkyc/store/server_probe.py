"""Asks a Postgres on a unix socket whether it serves, by a real start-up handshake.

A pid number or a socket file proves nothing: both outlive their server. Only an answer counts. The
few bytes of the protocol are spoken here, so that asking is cheap (one backend, no driver set-up)
and "starting up" can be told from "not there".
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from enum import Enum
from pathlib import Path

SUPERUSER = "rkyc"
DATABASE = "postgres"

# Protocol 3.0: every server from 7.4 on accepts it.
_PROTOCOL = 3 << 16
# Seconds. A server that is up answers in milliseconds; a longer silence is a server under great load.
_PATIENCE_S = 5.0
# SQLSTATE cannot_connect_now: starting up, recovering or shutting down.
_CANNOT_CONNECT_NOW = b"57P03"


class Answer(Enum):
    """What came back."""

    READY = "ready"
    BUSY = "busy"  # somebody is there, but does not serve (yet, or any more)
    ABSENT = "absent"  # nobody listens


async def probe(socket: Path) -> Answer:
    """Knock at the socket file and say who answered. Never raises for a dead server."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(_startup_message())
                return await _read_answer(reader)
            finally:
                with contextlib.suppress(OSError, RuntimeError):
                    writer.write(b"X" + struct.pack("!I", 4))  # Terminate: or the server logs a lost client
                    writer.close()
                    await writer.wait_closed()
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return Answer.ABSENT
    except (OSError, EOFError, TimeoutError, RuntimeError):
        # A full backlog (EAGAIN), a reset or silence: a process holds the socket, but does not serve.
        # RuntimeError is what uvloop says of a socket that was reset just before a write.
        return Answer.BUSY


def _startup_message() -> bytes:
    fields = {"user": SUPERUSER, "database": DATABASE, "application_name": "rkyc-probe"}
    body = struct.pack("!I", _PROTOCOL)
    body += b"".join(f"{key}\0{value}\0".encode() for key, value in fields.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    kind, length = struct.unpack("!cI", await reader.readexactly(5))
    body = await reader.readexactly(length - 4)
    if kind == b"E" and b"C" + _CANNOT_CONNECT_NOW in body.split(b"\0"):
        return Answer.BUSY
    # Any other answer, even "too many connections", comes from a server that is up.
    return Answer.READY
