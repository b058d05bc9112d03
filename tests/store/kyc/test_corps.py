"""Which dossiers are about the same company."""

from __future__ import annotations

import asyncio

import pytest

from rkyc.store.kyc.corps import CorpFields, ensure_corp, lock_corp, normalise_name, read_corp, update_corp
from rkyc.store.pool import Pool

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        # The first identification that both have decides.
        (CorpFields("가나", biz_no="123-45-67890"), CorpFields("다라", biz_no="1234567890"), True),
        (CorpFields("가나", biz_no="123-45-67890"), CorpFields("가나", biz_no="123-45-67891"), False),
        (CorpFields("가나", biz_no="123-45-67890"), CorpFields("㈜ 가나"), True),
        (CorpFields("가나"), CorpFields("가나 주식회사", biz_no="123-45-67890"), True),
        (CorpFields("가나", corp_reg_no="110111-1"), CorpFields("다라", corp_reg_no="1101111"), True),
        (CorpFields("가나", corp_reg_no="110111-1"), CorpFields("가나", corp_reg_no="110111-2"), False),
        (
            CorpFields("가나", biz_no="1", corp_reg_no="9"),
            CorpFields("다라", biz_no="2", corp_reg_no="9"),
            False,
        ),
        (
            CorpFields("A", listed_code="005930", country="KR"),
            CorpFields("B", listed_code="005930", country="kr"),
            True,
        ),
        (
            CorpFields("A", listed_code="CRR", country="US"),
            CorpFields("B", listed_code="CRR", country="CA"),
            False,
        ),
        (CorpFields("Acme Inc."), CorpFields("ACME, Inc"), True),
        (CorpFields("한빛정밀"), CorpFields("한빛정밀화학"), False),
    ],
)
async def test_same_company(pool: Pool, first: CorpFields, second: CorpFields, is_same: bool) -> None:
    async with pool.connection() as conn:
        one = await ensure_corp(conn, first)
        await update_corp(conn, one, first)
        assert (await ensure_corp(conn, second) == one) is is_same
        assert await ensure_corp(conn, first) == one


async def test_new_company_of_many_runs_at_once_is_one_row(pool: Pool) -> None:
    async def run() -> int:
        async with pool.transaction() as conn:
            corp_id = await ensure_corp(conn, CorpFields("가나", biz_no="1"))
            assert await lock_corp(conn, corp_id)
            await update_corp(conn, corp_id, CorpFields("가나", biz_no="1", ceo_name="나"))
            return corp_id

    assert len(set(await asyncio.gather(*(run() for _ in range(8))))) == 1


async def test_update_keeps_what_a_dossier_leaves_out(pool: Pool) -> None:
    async with pool.connection() as conn:
        corp_id = await ensure_corp(conn, CorpFields("가나"))
        await update_corp(conn, corp_id, CorpFields("가나", ceo_name="김", aliases=("가",), biz_no="1"))
        await update_corp(conn, corp_id, CorpFields("가나 주식회사", country="KR"))
        row = await read_corp(conn, corp_id)
        assert await read_corp(conn, corp_id + 1) is None
        assert not await lock_corp(conn, corp_id + 1)
    assert row is not None
    assert (row["name"], row["ceo_name"], row["aliases"], row["biz_no"], row["country"]) == (
        *("가나 주식회사", "김", ["가"], "1", "KR"),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("㈜한빛 정밀", "한빛정밀"),
        ("주식회사 한빛정밀", "한빛정밀"),
        ("(주)한빛정밀", "한빛정밀"),
        ("Hanbit Precision Co., Ltd.", "hanbitprecision"),
        ("HANBIT-PRECISION", "hanbitprecision"),
        ("주식회사", "주식회사"),
        ("Company Inc.", "companyinc"),
        ("!!", "!!"),
    ],
)
def test_names_without_legal_form_case_and_punctuation(name: str, expected: str) -> None:
    assert normalise_name(name) == expected
