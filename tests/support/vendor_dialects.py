"""The bytes that the vendors send: server-sent events of Anthropic and OpenAI, and embedding bodies."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Say:
    """Answer with this text, in pieces. `stop` is the vendor's own stop reason."""

    text: str
    stop: str | None = None
    refusal: str | None = None
    pieces: int = 3
    usage: bool = True


class AnthropicDialect:
    """Server-sent events of /v1/messages."""

    request_id_header = "request-id"

    def __init__(self, body: dict[str, Any]) -> None:
        self._model = body.get("model")
        self._tokens_in = _rough_tokens(body)

    def head(self) -> bytes:
        usage = {"input_tokens": self._tokens_in, "output_tokens": 1, "cache_read_input_tokens": 0}
        message: dict[str, Any] = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
        }
        message |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
        block = {"type": "text", "text": ""}
        return (
            _named("message_start", {"message": message})
            + _named("ping", {})
            + _named("content_block_start", {"index": 0, "content_block": block})
        )

    def piece(self, text: str) -> bytes:
        return _named("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}})

    def whole(self, say: Say) -> list[bytes]:
        delta = {"stop_reason": say.stop or "end_turn", "stop_sequence": None}
        usage = {"output_tokens": len(say.text) // 4 + 1}
        return [
            self.head(),
            *(self.piece(text) for text in _split(say.text, say.pieces)),
            _named("content_block_stop", {"index": 0}),
            _named("message_delta", {"delta": delta, "usage": usage}),
            _named("message_stop", {}),
        ]

    def error(self, code: str, message: str) -> dict[str, Any]:
        return {"type": "error", "error": {"type": code, "message": message}, "request_id": "req_1"}

    def error_event(self, code: str, numeric: int | None) -> bytes:
        return _named("error", {"error": {"type": code, "message": "scripted failure"}})


class OpenAIDialect:
    """Server-sent events of /v1/chat/completions."""

    request_id_header = "x-request-id"

    def __init__(self, body: dict[str, Any]) -> None:
        self._model = body.get("model")
        self._tokens_in = _rough_tokens(body)

    def head(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, text: str) -> bytes:
        return self._chunk({"content": text})

    def whole(self, say: Say) -> list[bytes]:
        refusal = [self._chunk({"refusal": say.refusal})] if say.refusal else []
        usage = {"prompt_tokens": self._tokens_in, "completion_tokens": len(say.text) // 4 + 1}
        usage["total_tokens"] = sum(usage.values())
        counted = [self._event(self._frame([]) | {"usage": usage})] if say.usage else []
        return [
            self.head(),
            *(self.piece(text) for text in _split(say.text, say.pieces)),
            *refusal,
            self._chunk({}, finish=say.stop or "stop"),
            *counted,
            b"data: [DONE]\n\n",
        ]

    def error(self, code: str, message: str) -> dict[str, Any]:
        return {"error": {"type": code, "code": code, "message": message, "param": None}}

    def error_event(self, code: str, numeric: int | None) -> bytes:
        error = {"type": code, "code": numeric if numeric is not None else code, "message": "scripted"}
        return self._event({"error": error})

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return self._event(self._frame([{"index": 0, "delta": delta, "finish_reason": finish}]))

    def _frame(self, choices: list[Any]) -> dict[str, Any]:
        frame = {"id": "chatcmpl_1", "object": "chat.completion.chunk", "created": 1, "model": self._model}
        return frame | {"choices": choices, "usage": None}

    @staticmethod
    def _event(data: dict[str, Any]) -> bytes:
        return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def embedding_body(body: dict[str, Any]) -> dict[str, Any]:
    """Answer /v1/embeddings: vectors that depend on the text alone, as base64 when so asked."""
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    dim = body.get("dimensions") or (3072 if "large" in body["model"] else 1536)
    rows: list[dict[str, Any]] = []
    for index, text in enumerate(texts):
        seed = zlib.crc32(text.encode())
        floats = [((seed * (i + 1)) % 2001 - 1000) / 1000 for i in range(dim)]
        packed = base64.b64encode(struct.pack(f"<{dim}f", *floats)).decode()
        value: Any = packed if body.get("encoding_format") == "base64" else floats
        rows.append({"object": "embedding", "index": index, "embedding": value})
    usage = {"prompt_tokens": sum(map(len, texts)) // 4, "total_tokens": sum(map(len, texts)) // 4}
    return {"object": "list", "data": rows, "model": body["model"], "usage": usage}


def _named(event: str, data: dict[str, Any]) -> bytes:
    payload = json.dumps({"type": event, **data}, ensure_ascii=False)
    return f"event: {event}\ndata: {payload}\n\n".encode()


def _split(text: str, pieces: int) -> list[str]:
    size = max(1, -(-len(text) // max(1, pieces)))
    return [text[start : start + size] for start in range(0, len(text), size)]


def joined(content: Any) -> str:
    """Flatten a prompt: a text, blocks of text, or messages."""
    if isinstance(content, list):
        return "\n".join(joined(item) for item in content)
    if isinstance(content, dict):
        return joined(content.get("content") or content.get("text"))
    return content or ""


def _rough_tokens(body: dict[str, Any]) -> int:
    return len(joined(body.get("system")) + joined(body.get("messages"))) // 4
