"""A local server that speaks the vendors' wire protocols, scripted, with a ledger of what was asked.

It answers Anthropic messages and OpenAI chat completions (both as SSE), OpenAI embeddings and
Perplexity searches. In a test, `VendorWire` plays one behaviour per request, in order; what is left
unscripted gets a rule's answer or an empty object that fits the request's schema. As a process
(`python -m tests.support.vendor_wire --port 0 --ledger FILE --script FILE`) it prints its address
as a JSON line and serves real workers; the ledger has one JSON line per request, written before the
answer, so that a killed worker's calls are counted too.

The script file: `{"latency_s": 0.0, "rules": [{"match": TEXT, "answer": JSON or TEXT, "take"?: REGEX}],
"searches": [{"match": TEXT, "results": […]}], "embeddings": [{"match": TEXT}]}`; `match` is looked for in
the system and user prompt (or the query, or the texts), the first rule that fits answers. Any rule may
have a `latency_s` of its own, and `once`: true, after which it is spent. What `take` finds in the prompt
stands for `$TAKEN` in the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from tests.support.schema_filler import fill_schema
from tests.support.vendor_dialects import AnthropicDialect, OpenAIDialect, Say, embedding_body, joined


@dataclass(frozen=True)
class Fail:
    """Answer with a status and an error body of the vendor's shape."""

    status: int
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "scripted failure"
    body: str | None = None  # sent as it is, in place of a JSON error


@dataclass(frozen=True)
class FailInStream:
    """Begin a 200 stream, then send an error event."""

    code: str
    numeric: int | None = None


@dataclass(frozen=True)
class Cut:
    """Begin a 200 stream, then drop the connection; `politely` ends the body as if it were whole."""

    politely: bool = False


@dataclass(frozen=True)
class Hang:
    """Never answer: before the head (`after=0`) or after so many pieces."""

    after: int = 0


@dataclass(frozen=True)
class Trickle:
    """Send a piece every few milliseconds and never end."""

    every_s: float = 0.01


@dataclass(frozen=True)
class Garbage:
    """A 200 stream or body that is no JSON."""

    raw: bytes = b"\xff{not json"


@dataclass(frozen=True)
class Results:
    """Search results, or an embedding body, given as it stands."""

    body: dict[str, Any]


Behaviour = Say | Fail | FailInStream | Cut | Hang | Trickle | Garbage | Results


@dataclass(frozen=True)
class Asked:
    """One request as it came over the wire."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]


class VendorWire:
    """The server. `async with VendorWire(…) as wire:` gives `wire.url`, without a trailing slash."""

    def __init__(
        self, *behaviours: Behaviour, script: dict[str, Any] | None = None, ledger: Path | None = None
    ) -> None:
        self.behaviours: list[Behaviour] = list(behaviours)
        self.asked: list[Asked] = []
        self.url = ""
        self._script = script or {}
        self._ledger = ledger
        self._ending = asyncio.Event()

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_post("/search", self._search)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        self._ending.set()
        await self._runner.cleanup()

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body = await self._take(request)
        prompt = joined(body.get("system")), joined(body["messages"])
        schema = (body.get("output_config") or {}).get("format", {}).get("schema")
        behaviour = await self._choose("\n".join(prompt), schema)
        return await self._play(request, behaviour, AnthropicDialect(body))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await self._take(request)
        schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
        behaviour = await self._choose(joined(body["messages"]), schema)
        return await self._play(request, behaviour, OpenAIDialect(body))

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        body = await self._take(request)
        if self.behaviours:
            return await self._play(request, self.behaviours.pop(0), OpenAIDialect(body))
        await self._apply_rule("embeddings", str(body["input"]))
        return web.json_response(embedding_body(body))

    async def _search(self, request: web.Request) -> web.StreamResponse:
        body = await self._take(request)
        if self.behaviours:
            return await self._play(request, self.behaviours.pop(0), OpenAIDialect(body))
        rule = await self._apply_rule("searches", str(body["query"]))
        return web.json_response({"id": "search_1", "results": rule.get("results", [])})

    async def _take(self, request: web.Request) -> dict[str, Any]:
        raw = await request.read()
        body: dict[str, Any] = json.loads(raw)
        self.asked.append(Asked(request.path, body, {k.lower(): v for k, v in request.headers.items()}))
        if self._ledger is not None:
            line = {
                "n": len(self.asked),
                "at": time.time(),
                "path": request.path,
                "model": body.get("model"),
                "sha256": hashlib.sha256(raw).hexdigest(),
                "body": body,
            }
            with self._ledger.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        return body

    async def _choose(self, prompt: str, schema: dict[str, Any] | None) -> Behaviour:
        if self.behaviours:
            return self.behaviours.pop(0)
        rule = await self._apply_rule("rules", prompt)
        answer: Any = rule.get("answer", fill_schema(schema) if schema is not None else "ok")
        text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        if taken := re.search(rule["take"], prompt) if "take" in rule else None:
            text = text.replace("$TAKEN", taken[0])
        return Say(text)

    async def _apply_rule(self, kind: str, text: str) -> dict[str, Any]:
        """Find the first rule that fits, or an empty one, and wait as long as it says."""
        rules: list[dict[str, Any]] = self._script.get(kind, [])
        rule = next((each for each in rules if each["match"] in text), {})
        if rule.get("once"):
            rules.remove(rule)
        await asyncio.sleep(rule.get("latency_s", self._script.get("latency_s", 0.0)))
        return rule

    async def _play(
        self, request: web.Request, behaviour: Behaviour, vendor: AnthropicDialect | OpenAIDialect
    ) -> web.StreamResponse:
        match behaviour:
            case Fail():
                text = behaviour.body or json.dumps(
                    vendor.error(behaviour.code or "error", behaviour.message)
                )
                headers = {vendor.request_id_header: "req_1", **behaviour.headers}
                return web.Response(
                    status=behaviour.status, text=text, headers=headers, content_type="application/json"
                )
            case Results():
                return web.json_response(behaviour.body)
            case Hang(after=0):
                await self._ending.wait()
                return web.Response(status=503)
            case Garbage() if request.path in ("/search", "/v1/embeddings"):
                return web.Response(body=behaviour.raw, content_type="application/json")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", vendor.request_id_header: "req_1"}
        )
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            async for chunk in self._chunks(behaviour, vendor):
                if chunk is None:
                    assert request.transport is not None
                    request.transport.abort()
                    break
                await response.write(chunk)
        return response

    async def _chunks(
        self, behaviour: Behaviour, vendor: AnthropicDialect | OpenAIDialect
    ) -> AsyncIterator[bytes | None]:
        """Give the bytes of a stream; None drops the connection."""
        match behaviour:
            case Say():
                for chunk in vendor.whole(behaviour):
                    yield chunk
            case FailInStream(code=code, numeric=numeric):
                yield vendor.head()
                yield vendor.piece("half an ")
                yield vendor.error_event(code, numeric)
            case Cut(politely=politely):
                yield vendor.head()
                yield vendor.piece("half an ")
                if not politely:
                    await asyncio.sleep(0)
                    yield None
            case Hang(after=after):
                yield vendor.head()
                for _ in range(after):
                    yield vendor.piece("x")
                await self._ending.wait()
            case Trickle(every_s=every_s):
                yield vendor.head()
                while not self._ending.is_set():
                    yield vendor.piece("x")
                    await asyncio.sleep(every_s)
            case Garbage(raw=raw):
                yield vendor.head()
                yield b"event: content_block_delta\ndata: " + raw + b"\n\n"


async def _serve(port: int, ledger: Path | None, script: Path | None) -> None:
    rules = json.loads(script.read_text(encoding="utf-8")) if script is not None else None
    async with VendorWire(script=rules, ledger=ledger) as wire:
        print(json.dumps({"event": "ready", "url": wire.url}), flush=True)
        await asyncio.Event().wait()


def main(arguments: list[str]) -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="vendor_wire")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--script", type=Path)
    given = parser.parse_args(arguments)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(given.port, given.ledger, given.script))


if __name__ == "__main__":
    main(sys.argv[1:])
