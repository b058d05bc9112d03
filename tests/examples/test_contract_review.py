"""The example pipeline of one file, tested as its author would: with the test kit."""

from __future__ import annotations

from typing import Any

import pytest

from examples.contract_review import review
from rkyc.errors import LLMRateLimitError
from rkyc.testing.fakes import FakeLlm
from rkyc.testing.kit import Kit

pytestmark = pytest.mark.anyio
LEASE = {"title": "Lease", "text": "Rent is due monthly; it ends on 2027-03-31. No pets.", "cool_off_days": 7}


async def run(kit: Kit, *answers: Any) -> tuple[Any, FakeLlm]:
    model = FakeLlm(answers)
    kit.provide(model.router)
    return await kit.run_inline(review, LEASE), model


async def test_a_contract_is_split_dated_and_summarised(rkyc_kit: Kit) -> None:
    job, _ = await run(rkyc_kit, "A lease.")
    dates = [{"clause": 2, "date": "2027-03-31"}]
    assert job.result == {"title": "Lease", "clauses": 3, "dates": dates, "summary": "A lease."}


async def test_a_busy_model_is_asked_again_and_a_crash_pays_no_second_time(rkyc_kit: Kit) -> None:
    rkyc_kit.crash_at("summarise")
    job, model = await run(rkyc_kit, LLMRateLimitError("busy"), "A lease.")
    assert (job.status, len(model.requests), job.ran.count("report")) == ("completed", 2, 1)


async def test_without_a_summary_the_report_is_partial(rkyc_kit: Kit) -> None:
    job, _ = await run(rkyc_kit)
    assert (job.status, job.partial, job.result["summary"]) == ("completed", True, None)
