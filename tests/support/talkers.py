"""Pipelines whose steps emit tokens as their job's input says, and a reader of token streams.

The input is `{"folder": PATH, "script": {STEP: [ACTION, …]}}`. A text is emitted, `{n}` in it being the
attempt; `{"gate": NAME}` waits until a file of that name lies in the folder (`open_gate`), `{"pause": S}`
waits, `{"long": N}` emits N characters, `{"raw": …}` emits a value as it is, `{"fail": N}` fails attempts
up to N, `{"kill": N}` kills their process, and `{"end": true}` fails for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from rkyc.errors import PermanentException, RetryableException
from rkyc.flow.graph import chain, chord
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step
from tests.support.web import read_sse

_GATE_S = 0.005


@step(retry=RetryPolicy(max_attempts=5, initial_s=0.01, max_s=0.02))
async def talk(ctx: Any, job: dict[str, Any]) -> dict[str, Any]:
    for action in job["script"].get(ctx.step, []):
        if isinstance(action, str):
            await ctx.emit(action.replace("{n}", str(ctx.attempt)))
            continue
        ((kind, value),) = action.items()
        if kind == "gate":
            while not (Path(job["folder"]) / value).exists():
                await asyncio.sleep(_GATE_S)
        elif kind == "pause":
            await asyncio.sleep(value)
        elif kind == "long":
            await ctx.emit("x" * value)
        elif kind == "fail" and ctx.attempt <= value:
            raise RetryableException("not yet")
        elif kind == "kill" and ctx.attempt <= value:
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "end":
            raise PermanentException("meant to fail")
        elif kind == "raw":
            await ctx.emit(value)
    return {"step": ctx.step}


registry = Registry(
    [
        Pipeline("talk", 1, talk.named("talk")),
        Pipeline("talks", 1, chain(talk.named("one"), talk.named("two"))),
        Pipeline("chorus", 1, chord([talk.named("left"), talk.named("right")], talk.named("last"))),
    ]
)


def script(folder: Path, *actions: Any, **steps: list[Any]) -> dict[str, Any]:
    """Return an input: actions of the step `talk`, or of steps by name."""
    return {"folder": str(folder), "script": steps or {"talk": list(actions)}}


def open_gate(folder: Path, name: str) -> None:
    """Let through who waits at a gate, now and later."""
    (folder / name).touch()


@dataclass(frozen=True, slots=True)
class Sent:
    """One event of a token stream as a client got it; a reset has no id."""

    id: str | None
    type: str
    data: dict[str, Any]


@contextlib.asynccontextmanager
async def listen(
    session: aiohttp.ClientSession, job_id: str, last_id: str | None = None
) -> AsyncIterator[AsyncIterator[Sent]]:
    """Open a job's token stream; leaving the block cuts it."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with session.get(f"/api/v1/jobs/{job_id}/stream", headers=headers) as response:
        assert response.status in (200, 204), await response.text()
        yield _read(response)
        # Not read to its end: the connection is of no more use.
        response.close()


async def _read(response: aiohttp.ClientResponse) -> AsyncIterator[Sent]:
    async for fields in read_sse(response):
        yield Sent(fields.get("id"), fields["event"], orjson.loads(fields["data"]))


async def read_tokens(session: aiohttp.ClientSession, job_id: str, last_id: str | None = None) -> list[Sent]:
    """Return all events of a token stream up to its end."""
    async with listen(session, job_id, last_id) as events:
        return [event async for event in events]


def heard(events: list[Sent]) -> dict[str, str]:
    """Return the text by step that a client holds at the end, who does what resets say."""
    texts: dict[str, str] = {}
    for event in events:
        if event.type == "token":
            step = event.data["step"]
            texts[step] = texts.get(step, "") + event.data["text"]
        elif event.type == "stream.reset":
            if event.data["step"] is None:
                texts.clear()
            else:
                texts.pop(event.data["step"], None)
    return texts


def are_whole(events: list[Sent]) -> bool:
    """Return whether the tokens of each attempt are numbered without a gap, from where the first one stands."""
    following: dict[tuple[str, int], int] = {}
    for event in events:
        if event.type == "token":
            key = (event.data["step"], event.data["attempt"])
            if event.data["seq"] != following.setdefault(key, event.data["seq"]):
                return False
            following[key] += 1
    return True
