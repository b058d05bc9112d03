"""The offline embedding: the same everywhere, and alike where the wording is alike."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from rkyc.providers.embedding.build import EmbeddingOptions, build_embedder
from rkyc.providers.embedding.lexical import LEXICAL_DIM, LEXICAL_MODEL, LexicalEmbedding, lexical_vectors
from rkyc.providers.embedding.types import Vectors, cosine

pytestmark = pytest.mark.anyio

# (query, the text that belongs to it); every other row is a distractor.
PAIRS = [
    ("대표이사 횡령 혐의", "검찰은 한빛정밀 대표이사를 횡령 혐의로 기소했다"),
    ("이자 연체 발생", "지난달부터 대출 이자가 연체되어 연체이자가 발생하였다"),
    ("공장 화재 사고", "화성 공장에서 화재가 나 생산이 중단되었다"),
    ("감사의견 거절", "감사인은 회사의 재무제표에 대한 감사의견을 거절하였다"),
    ("특허 소송 패소", "경쟁사와의 특허 침해 소송에서 1심 패소 판결을 받았다"),
    ("신규 수주 계약", "독일 자동차사와 300억원 규모의 신규 공급 계약을 수주"),
    ("Chapter 11 bankruptcy", "The company filed for bankruptcy protection under Chapter 11"),
    ("covenant waiver", "Lenders granted a waiver of the leverage covenant until March"),
    ("going concern doubt", "There is substantial doubt about its ability to continue as a going concern"),
    ("data breach customers", "Attackers stole personal data of two million customers in the breach"),
    ("credit rating downgrade", "The agency downgraded the credit rating to BB with a negative outlook"),
]


def vector(text: str) -> Vectors:
    return lexical_vectors([text])


def test_each_query_finds_its_text() -> None:
    scores = cosine(
        lexical_vectors([query for query, _ in PAIRS]), lexical_vectors([text for _, text in PAIRS])
    )
    assert list(scores.argmax(axis=1)) == list(range(len(PAIRS)))


async def test_rows_are_unit_vectors_that_name_their_model() -> None:
    embedding = await LexicalEmbedding().embed([text for _, text in PAIRS], timeout_s=1.0)
    assert embedding.vectors.shape == (len(PAIRS), LEXICAL_DIM)
    assert embedding.vectors.dtype == np.float32
    assert np.linalg.norm(embedding.vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert embedding.model == LEXICAL_MODEL
    assert embedding.usage.cost_usd == 0.0


async def test_long_batch_equals_the_texts_one_by_one() -> None:
    texts = [f"{text} {number}" for number in range(60) for _, text in PAIRS]
    embedding = await build_embedder(EmbeddingOptions()).embed(texts)
    assert np.array_equal(embedding.vectors, np.concatenate([vector(text) for text in texts]))


def test_decomposed_hangul_is_the_same_word() -> None:
    composed = "매출액 감소"
    assert np.array_equal(vector(composed), vector(unicodedata.normalize("NFD", composed)))


def test_particles_leave_words_alike() -> None:
    assert cosine(vector("횡령"), vector("횡령을"))[0, 0] > 0.5


def test_text_without_words_is_like_nothing() -> None:
    assert not vector("…!? 😀").any()
    assert cosine(vector("…!?"), vector("부도"))[0, 0] == 0.0


def test_another_process_gives_the_same_vector() -> None:
    code = (
        "from rkyc.providers.embedding.lexical import lexical_vectors as v;"
        "print(v(['한빛정밀 부도 Chapter 11']).tobytes().hex())"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=15
    )
    assert other.stdout.strip() == vector("한빛정밀 부도 Chapter 11").tobytes().hex()
