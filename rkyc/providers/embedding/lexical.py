"""`lexical-hash-1024`: vectors from the letters of a text, without a model, a download or chance.

Hangul syllables in twos and threes (Korean particles follow the stem, so words need no cutting),
Latin words and their runs of four letters, numbers; hashed with a sign into 1024 places, weighted
by the logarithm of their count. It finds what is worded alike, within one language. It knows no
meaning and must never be called semantic.
"""

from __future__ import annotations

import asyncio
import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from rkyc.providers.embedding.types import Embedding, Vectors, check_texts, normalise
from rkyc.providers.llm.types import Usage

LEXICAL_MODEL = "lexical-hash-1024"
LEXICAL_DIM = 1024
# Above so many characters (some 10 ms of work) the loop is not kept waiting.
_INLINE_CHARS_MAX = 20_000

_RUNS = re.compile(r"(?P<hangul>[가-힣]+)|(?P<latin>[a-zà-öø-ÿ]+)|(?P<number>\d+)|(?P<other>[^\W\d_])")


class LexicalEmbedding:
    """The offline provider."""

    name = "lexical"
    model = LEXICAL_MODEL
    dim = LEXICAL_DIM

    async def embed(self, texts: Sequence[str], *, timeout_s: float) -> Embedding:
        """Embed all texts; see `EmbeddingProvider.embed`."""
        check_texts(texts)
        if sum(map(len, texts)) <= _INLINE_CHARS_MAX:
            vectors = lexical_vectors(texts)
        else:
            vectors = await asyncio.to_thread(lexical_vectors, texts)
        return Embedding(vectors, LEXICAL_MODEL, Usage(cost_usd=0.0))

    async def aclose(self) -> None:
        """Nothing is open."""


def lexical_vectors(texts: Sequence[str]) -> Vectors:
    """Return (texts, 1024) float32 of length 1; a text without letters or digits is zero."""
    rows = np.zeros((len(texts), LEXICAL_DIM), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        for feature, count in Counter(_features(text)).items():
            code = zlib.crc32(feature.encode())
            sign = 1.0 if code & 0x8000_0000 else -1.0
            row[code % LEXICAL_DIM] += sign * (1.0 + math.log(count))
    return normalise(rows)


def _features(text: str) -> Iterator[str]:
    # NFC first: the same word may come in conjoined letters (from a Mac) or in syllables.
    for run in _RUNS.finditer(unicodedata.normalize("NFC", text).lower()):
        word = run.group()
        match run.lastgroup:
            case "hangul":
                if len(word) == 1:
                    yield word
                yield from (word[start : start + 2] for start in range(len(word) - 1))
                yield from (word[start : start + 3] for start in range(len(word) - 2))
            case "latin":
                yield f"<{word}>"
                if len(word) > 4:
                    yield from (word[start : start + 4] for start in range(len(word) - 3))
            case _:
                yield f"<{word}>"
