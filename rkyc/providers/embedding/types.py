"""What turns texts into vectors. Vectors of different models never mix: each batch names its model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rkyc.errors import EmbeddingPartialFailure
from rkyc.providers.llm.types import Usage

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """`vectors` is (texts, dim) float32, one row per text, in the texts' order, each of length 1 or 0."""

    vectors: Vectors
    model: str
    usage: Usage = field(default_factory=Usage)


class EmbeddingProvider(Protocol):
    """One model."""

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def dim(self) -> int: ...

    async def embed(self, texts: Sequence[str], *, timeout_s: float) -> Embedding:
        """Embed all texts or none; `timeout_s` bounds each request to a vendor.

        Raises:
            EmbeddingTimeoutError: no answer now (with its rate class), a later try may get one.
            EmbeddingPartialFailure: these texts get no vectors; the work goes on without them.
        """
        ...

    async def aclose(self) -> None: ...


def check_texts(texts: Sequence[str]) -> None:
    """Refuse what no model can embed.

    Raises:
        EmbeddingPartialFailure: there is no text, or one of them is blank or not a text.
    """
    details: dict[str, Any] = {"texts": len(texts)}
    if not texts:
        raise EmbeddingPartialFailure("Invalid input: there is no text to embed", details)
    for place, text in enumerate(texts, start=1):
        if not isinstance(text, str) or not text.strip():
            message = f"Invalid input: text {place} of {len(texts)} is blank or no text"
            raise EmbeddingPartialFailure(message, details | {"place": place})


def cosine(a: Vectors, b: Vectors) -> Vectors:
    """Compare rows: (n, dim) and (m, dim) give (n, m) float32 in -1…1; a zero vector is like nothing (0)."""
    return np.asarray(_unit(np.atleast_2d(a)) @ _unit(np.atleast_2d(b)).T, dtype=np.float32)


def normalise(vectors: npt.ArrayLike) -> Vectors:
    """Scale each row to length 1; a zero row stays zero."""
    return _unit(np.asarray(vectors, dtype=np.float32))


def _unit(rows: Vectors) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0), dtype=np.float32)
