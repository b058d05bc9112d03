"""A vendor's client that is opened at its first use and then shared.

The SDKs take a second or more to import, so a process that never calls a vendor never loads one,
and the import runs in a thread: the loop goes on meanwhile. `opened.caught` lists everything that a
call through this client may raise about the outside world; what is not listed is a mistake of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar


class Closable(Protocol):
    """A client with an async `close`, as both SDKs have."""

    def close(self) -> Awaitable[None]: ...


C = TypeVar("C", bound=Closable)


@dataclass(frozen=True, slots=True)
class Opened(Generic[C]):
    client: C
    caught: tuple[type[Exception], ...]
    timeout: Callable[[float], Any]  # from the longest silence in seconds to the SDK's own setting


class LazySdk(Generic[C]):
    """Opens once, however many ask at the same time."""

    def __init__(self, open_client: Callable[[], Opened[C]]) -> None:
        self._open_client = open_client
        self._opened: Opened[C] | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> Opened[C]:
        async with self._lock:
            if self._opened is None:
                self._opened = await asyncio.to_thread(self._open_client)
            return self._opened

    async def aclose(self) -> None:
        """Close the connections; a later `get` opens anew."""
        async with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            await opened.client.close()
