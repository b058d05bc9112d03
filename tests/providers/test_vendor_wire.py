"""The wire server itself, as the crash tests use it: a process with a script and a ledger."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydantic
import pytest

from rkyc.providers.llm.build import LlmOptions, build_llm
from rkyc.providers.llm.claude import ClaudeOptions
from rkyc.providers.llm.openai import OpenAIOptions
from rkyc.providers.llm.types import DataClass, LlmRequest
from rkyc.providers.search.build import SearchOptions, build_search
from rkyc.providers.search.perplexity import PerplexityOptions
from rkyc.providers.search.types import SearchQuery
from tests.support.schema_filler import fill_schema

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


class Draft(pydantic.BaseModel):
    title: str = pydantic.Field(min_length=2)
    severity: int = pydantic.Field(ge=1)


class Drafts(pydantic.BaseModel):
    drafts: list[Draft] = []
    best: Draft
    note: str | None = None


@contextmanager
def running_wire(script: Path, ledger: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.support.vendor_wire", "--port", "0"]
    command += ["--ledger", str(ledger), "--script", str(script)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ.copy())
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
        process.stdout.close()


async def test_process_answers_by_its_script_and_counts_every_request(tmp_path: Path) -> None:
    script, ledger = tmp_path / "script.json", tmp_path / "ledger.jsonl"
    canned = {"drafts": [], "best": {"title": "부도", "severity": 5}}
    found = [{"url": "https://a.example", "title": "t", "snippet": "s"}]
    rules = {
        "rules": [{"match": "industry analyst", "answer": canned}],
        "searches": [{"match": "한빛", "results": found}],
    }
    script.write_text(json.dumps(rules), encoding="utf-8")
    with running_wire(script, ledger) as url:
        claude = ClaudeOptions(api_key="k", base_url=url)
        llm = build_llm(LlmOptions(external=(claude,), internal=(OpenAIOptions("k", f"{url}/v1"),)))
        scripted = LlmRequest("signal.industry", "You are an industry analyst.", "p", DataClass.PUBLIC)
        drafts, _ = await llm.complete_json(scripted, Drafts)
        other = LlmRequest("signal.direct", "You are someone else.", "p", DataClass.INTERNAL)
        empty, _ = await llm.complete_json(other, Drafts)
        search = build_search(SearchOptions(perplexity=PerplexityOptions("k", url)))
        hits = await search.search(SearchQuery("한빛정밀", "company"))
        await llm.aclose()
        await search.aclose()
    assert drafts == Drafts.model_validate(canned)
    assert empty.drafts == []
    assert len(hits) == 1
    lines = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()]
    assert [line["path"] for line in lines] == ["/v1/messages", "/v1/chat/completions", "/search"]
    assert lines[0]["body"]["system"] == "You are an industry analyst."


def test_emptiest_value_fits_its_schema() -> None:
    filled = fill_schema(Drafts.model_json_schema())
    assert Drafts.model_validate(filled) == Drafts(best=Draft(title="xx", severity=1))
