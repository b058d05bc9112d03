"""A real Chromium without a window, driven through its DevTools protocol.

`open_page` gives one page in a browser of its own, with a fresh profile; nothing of it outlives the block.
What the page asked the network for, and what its console said, is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

WIDTH, HEIGHT = 1280, 900
# Seconds for a browser to start, and for one command, on a busy machine.
_START_S = 60.0
_COMMAND_S = 30.0
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
    f"--window-size={WIDTH},{HEIGHT}",
)  # fmt: skip
_LISTENING = re.compile(rb"DevTools listening on ws://([^/]+)/")


class Page:
    """One page: `requests` are the addresses it asked for, `messages` what console and log said."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.requests: list[str] = []
        self.messages: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)

    async def open(self, address: str) -> None:
        """Load a page and wait until all of it is there."""
        for domain in ("Page", "Network", "Log", "Runtime"):
            await self._command(f"{domain}.enable")
        await self._command("Page.navigate", url=address)
        await self._read_until(lambda said: said.get("method") == "Page.loadEventFired")

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, awaited where it is a promise."""
        answer = await self._command(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    async def _command(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        said = await self._read_until(lambda one: one.get("id") == number)
        if "error" in said:
            raise AssertionError(f"{method}: {said['error']}")
        result: dict[str, Any] = said["result"]
        return result

    async def _read_until(self, is_wanted: Any) -> dict[str, Any]:
        async with asyncio.timeout(_COMMAND_S):
            while True:
                said: dict[str, Any] = await self._socket.receive_json()
                self._keep(said)
                if is_wanted(said):
                    return said

    def _keep(self, said: dict[str, Any]) -> None:
        match said:
            case {"method": "Network.requestWillBeSent", "params": {"request": {"url": url}}}:
                self.requests.append(url)
            case {"method": "Log.entryAdded", "params": {"entry": {"text": text}}}:
                self.messages.append(text)
            case {"method": "Runtime.consoleAPICalled" | "Runtime.exceptionThrown", "params": params}:
                self.messages.append(str(params))


@contextlib.asynccontextmanager
async def open_page(profile: Path) -> AsyncIterator[Page]:
    """Start a browser with its profile in a folder, and give its page."""
    program = shutil.which("chromium")
    assert program is not None, "chromium is not installed: scripts/system_packages.sh does it"
    process = await asyncio.create_subprocess_exec(
        program,
        *_OPTIONS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"HOME": str(profile), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(_START_S):
            place = await _find_place(process.stderr)
        drain = asyncio.create_task(process.stderr.read())
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{place}/json/list") as answer:
                (target,) = [one for one in await answer.json() if one["type"] == "page"]
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Page(socket)
        process.terminate()
        await drain
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _find_place(errors: asyncio.StreamReader) -> str:
    """Read what the browser says until it names its address, `127.0.0.1:PORT`."""
    async for line in errors:
        if found := _LISTENING.search(line):
            return found[1].decode()
    raise AssertionError("the browser ended at its start")
