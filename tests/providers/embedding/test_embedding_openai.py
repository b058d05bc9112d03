"""OpenAI's embeddings on the wire: batches, decoding, and how it fails."""

from __future__ import annotations

import logging
import socket
from typing import Any

import numpy as np
import pytest

from rkyc import errors
from rkyc.providers.embedding.build import EmbeddingOptions, build_embedder
from rkyc.providers.embedding.openai import OpenAIEmbedding, OpenAIEmbeddingOptions
from rkyc.providers.embedding.types import EmbeddingProvider, cosine
from tests.support.vendor_dialects import embedding_body
from tests.support.vendor_wire import Behaviour, Fail, Garbage, Hang, Results, VendorWire

pytestmark = pytest.mark.anyio

KEY = "sk-embedding-secret"


def provider_at(wire: VendorWire, **changes: Any) -> OpenAIEmbedding:
    return OpenAIEmbedding(OpenAIEmbeddingOptions(KEY, wire.openai_url, **changes))


def floats(text: str, dim: int = 1536) -> list[float]:
    body = embedding_body({"input": [text], "model": "m", "dimensions": dim})
    vector: list[float] = body["data"][0]["embedding"]
    return vector


async def test_texts_go_in_batches_and_come_back_in_order() -> None:
    texts = [f"문장 {number}" for number in range(250)]
    async with VendorWire() as wire:
        provider = provider_at(wire)
        embedding = await provider.embed(texts, timeout_s=5.0)
        await provider.aclose()
        assert [len(asked.body["input"]) for asked in wire.asked] == [100, 100, 50]
        assert {asked.body["encoding_format"] for asked in wire.asked} == {"base64"}
    assert embedding.vectors.shape == (250, provider.dim)
    assert embedding.vectors.dtype == np.float32
    expected = np.asarray([floats(text) for text in texts], dtype=np.float32)
    assert np.diag(cosine(embedding.vectors, expected)) == pytest.approx(1.0, abs=1e-5)
    assert embedding.model == "text-embedding-3-small"
    assert embedding.usage.tokens_in > 0
    assert embedding.usage.cost_usd == pytest.approx(embedding.usage.tokens_in * 0.02 / 1e6)


async def test_rows_out_of_order_and_plain_floats_are_understood() -> None:
    body = embedding_body({"input": ["a", "b"], "model": "m", "dimensions": 8})
    body["data"].reverse()
    async with VendorWire(Results(body)) as wire:
        provider = provider_at(wire, model="local", dimensions=8)
        embedding = await provider.embed(["a", "b"], timeout_s=5.0)
        await provider.aclose()
        assert wire.asked[0].body["dimensions"] == 8
    assert cosine(embedding.vectors[:1], np.asarray([floats("a", 8)]))[0, 0] == pytest.approx(1.0, abs=1e-5)


def two_rows(**changes: Any) -> Results:
    body = embedding_body({"input": ["a", "b"], "model": "m"})
    return Results(body | changes)


ROWS: dict[str, tuple[Behaviour, type[errors.WorkerBaseException], str, float | None]] = {
    "400": (Fail(400, "bad"), errors.EmbeddingPartialFailure, "Invalid input: ", None),
    "413": (Fail(413), errors.EmbeddingPartialFailure, "Invalid input: ", None),
    "401": (Fail(401), errors.EmbeddingPartialFailure, "Unexpected error: AuthenticationError", None),
    "402": (Fail(402), errors.EmbeddingPartialFailure, "Unexpected error: APIStatusError", None),
    "quota": (
        Fail(429, "insufficient_quota"),
        errors.EmbeddingPartialFailure,
        "Unexpected error: RateLimit",
        None,
    ),
    "408": (Fail(408), errors.EmbeddingTimeoutError, "", None),
    "429": (Fail(429), errors.EmbeddingRateLimitError, "", 60.0),
    "429 with wait": (Fail(429, headers={"retry-after": "4"}), errors.EmbeddingRateLimitError, "", 4.0),
    "500": (Fail(500), errors.EmbeddingTimeoutError, "", None),
    "503": (Fail(503), errors.EmbeddingTimeoutError, "", None),
    "garbage": (Garbage(), errors.EmbeddingPartialFailure, "Unexpected error: ", None),
    "too few": (two_rows(data=[]), errors.EmbeddingPartialFailure, "Unexpected error: ValueError", None),
    "no data": (
        Results({"object": "list"}),
        errors.EmbeddingPartialFailure,
        "Unexpected error: TypeError",
        None,
    ),
    "wrong width": (
        Results(
            embedding_body({"input": ["a", "b"], "model": "m", "dimensions": 7, "encoding_format": "base64"})
        ),
        errors.EmbeddingPartialFailure,
        "Unexpected error: ValueError",
        None,
    ),
    "no base64": (
        two_rows(data=[{"object": "embedding", "index": i, "embedding": "%%%"} for i in (0, 1)]),
        errors.EmbeddingPartialFailure,
        "Unexpected error: ValueError",
        None,
    ),
    "index beyond": (
        two_rows(data=[{"object": "embedding", "index": 5, "embedding": floats("a")}] * 2),
        errors.EmbeddingPartialFailure,
        "Unexpected error: IndexError",
        None,
    ),
}


@pytest.mark.parametrize(("behaviour", "error", "message", "wait"), ROWS.values(), ids=ROWS.keys())
async def test_failure_becomes_our_error(
    behaviour: Behaviour, error: type[errors.WorkerBaseException], message: str, wait: float | None
) -> None:
    async with VendorWire(behaviour) as wire:
        provider = provider_at(wire)
        with pytest.raises(errors.WorkerBaseException) as caught:
            await provider.embed(["a", "비밀 문장"], timeout_s=5.0)
        await provider.aclose()
        assert len(wire.asked) == 1
    assert type(caught.value) is error
    assert caught.value.message.startswith(message)
    assert caught.value.retry_after_s == wait
    told = f"{caught.value.message} {caught.value.details}"
    assert KEY not in told
    assert "비밀" not in told


async def test_unexpected_error_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with VendorWire(two_rows(data=[])) as wire:
        provider = provider_at(wire)
        with caplog.at_level(logging.ERROR), pytest.raises(errors.EmbeddingPartialFailure):
            await provider.embed(["a", "b"], timeout_s=5.0)
        await provider.aclose()
    assert "Traceback" in caplog.text
    assert "0 vectors came for 2 texts" in caplog.text


async def test_hang_ends_at_the_limit_with_the_original_error_named() -> None:
    async with VendorWire(Hang()) as wire:
        provider = provider_at(wire)
        with pytest.raises(errors.EmbeddingTimeoutError) as caught:
            await provider.embed(["a"], timeout_s=0.2)
        await provider.aclose()
    assert caught.value.details["timeout_seconds"] == 0.2
    assert "original_error" in caught.value.details


async def test_refused_connection_is_retryable_and_says_connect() -> None:
    with socket.socket() as unlistened:
        unlistened.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unlistened.getsockname()[1]}/v1"
        provider = OpenAIEmbedding(OpenAIEmbeddingOptions(KEY, url))
        with pytest.raises(errors.EmbeddingTimeoutError, match="failed to connect"):
            await provider.embed(["a"], timeout_s=5.0)
        await provider.aclose()


@pytest.mark.parametrize("texts", [[], ["a", " "]], ids=["none", "blank"])
@pytest.mark.parametrize("vendor", ["openai", "lexical"])
async def test_bad_input_is_refused_alike_by_all(texts: list[str], vendor: str) -> None:
    async with VendorWire() as wire:
        openai = OpenAIEmbeddingOptions(KEY, wire.openai_url) if vendor == "openai" else None
        embedder: EmbeddingProvider = build_embedder(EmbeddingOptions(openai=openai))
        with pytest.raises(errors.EmbeddingPartialFailure, match=r"\AInvalid input: "):
            await embedder.embed(texts, timeout_s=5.0)
        await embedder.aclose()
        assert wire.asked == []


def test_model_of_unknown_width_wants_its_dimensions() -> None:
    with pytest.raises(ValueError, match="dimensions"):
        OpenAIEmbeddingOptions(KEY, model="local")


def test_key_is_in_no_repr() -> None:
    assert KEY not in repr(EmbeddingOptions(openai=OpenAIEmbeddingOptions(KEY)))
