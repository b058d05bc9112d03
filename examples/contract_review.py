"""A pipeline of one's own, in one file: split a contract, look at its clauses in two ways at once, wait, report.

    rkyc serve --app examples/contract_review.py:registry
    rkyc submit contract-review --wait --input '{"title": "Lease", "text": "Rent is due monthly. …"}'

The dates are found by a rule. The summary is a language model's: its answer is remembered as soon as it is
there, so that no retry and no crash pays for it twice; without a model the report comes without a summary, and
the job says that it is partial. A contract may cool off for days first: the job sleeps, without a slot. `tests/examples/test_contract_review.py` tests all of it with the test kit.
"""

from __future__ import annotations

import re
from typing import Any

import pydantic

from rkyc import Pipeline, Registry, RetryPolicy, StepContext, chain, chord, step
from rkyc.providers.llm.router import Llm
from rkyc.providers.llm.types import DataClass, LlmAnswer, LlmRequest

SENTENCE_END = re.compile(r"(?<=[.;])\s+")
DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")


class Contract(pydantic.BaseModel):
    """The job's input."""

    title: str
    text: str
    cool_off_days: float = 0


class Clauses(pydantic.BaseModel):
    """A contract in pieces."""

    title: str
    clauses: list[str]


@step
async def split(ctx: StepContext, input: Contract) -> Clauses:
    clauses = [one.strip() for one in SENTENCE_END.split(input.text) if one.strip()]
    return Clauses(title=input.title, clauses=clauses)


@step
async def find_dates(ctx: StepContext, input: Clauses) -> list[dict[str, Any]]:
    return [
        {"clause": number, "date": date}
        for number, clause in enumerate(input.clauses, 1)
        for date in DATE.findall(clause)
    ]


@step(needs=[Llm], retry=RetryPolicy(max_attempts=5, initial_s=30.0), optional=True)
async def summarise(ctx: StepContext, input: Clauses) -> str:
    llm = ctx.use(Llm)
    request = LlmRequest(
        operation="summarise contract",
        system="Summarise the contract in three sentences. Add nothing that is not in it.",
        prompt="\n".join(input.clauses),
        data_class=DataClass.INTERNAL,
    )
    answer = await ctx.call("summary", lambda: llm.complete(request), returns=LlmAnswer)
    return answer.text


@step
async def report(ctx: StepContext, input: dict[str, Any], split: Clauses, job: Contract) -> dict[str, Any]:
    await ctx.sleep(job.cool_off_days * 86_400)
    return {
        "title": split.title,
        "clauses": len(split.clauses),
        "dates": input["find_dates"],
        "summary": input["summarise"],
    }


review = Pipeline("contract-review", version=1, steps=chain(split, chord([find_dates, summarise], report)))
registry = Registry([review])
