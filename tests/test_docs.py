"""What the pages show works: snippets run as written, imports resolve, commands and proofs exist."""

from __future__ import annotations

import importlib
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import typer

from rkyc.cli.lazy import LazyGroup, Outline
from rkyc.cli.program import OUTLINES, program
from rkyc.engine.broadcasting import CachePublisher
from rkyc.errors import RetryableException, SoftTimeLimit
from rkyc.flow.lane import TTL_EXPIRED
from rkyc.testing.kit import Kit

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
IMPORT = re.compile(r"\bfrom (rkyc[\w.]*) import ([\w, ]+)")
IMPORTED_FROM = re.compile(r"`(\w+)` in\s`(rkyc[\w.]+)`")
PROOF = re.compile(r"pytest (tests/\S+)::(test_\w+)")


def read_blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def run_page(name: str) -> dict[str, Any]:
    """Run the snippets of a page, one after the other, and return the names that they define."""
    scope: dict[str, Any] = {}
    for block in read_blocks(ROOT / "docs" / name, "python"):
        exec(compile(block, name, "exec"), scope)
    return scope


def test_every_import_that_a_page_shows_works() -> None:
    shown = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        shown |= {
            (module, name.strip()) for module, names in IMPORT.findall(text) for name in names.split(",")
        }
        shown |= {(module, name) for name, module in IMPORTED_FROM.findall(text)}
    policies = {"LanePolicy", "Limit", "Retention", "RetryPolicy", "Schedule", "Timeouts", "Unique"}
    assert policies | {"SoftTimeLimit", "route"} <= {name for _, name in shown}
    missing = [
        f"{module}.{name}" for module, name in shown if not hasattr(importlib.import_module(module), name)
    ]
    assert missing == []


def test_every_command_that_a_page_shows_exists() -> None:
    shown = [
        line.partition("#")[0]
        for page in PAGES
        for block in read_blocks(page, "sh")
        for line in block.splitlines()
        if line.startswith("rkyc ")
    ]
    assert len(shown) > 12
    assert [line for line in shown if not is_command(shlex.split(line)[1:])] == []


def is_command(words: list[str]) -> bool:
    """Whether the words name a command, and only options that it has."""
    group = typer.main.get_command(program)
    assert isinstance(group, LazyGroup)
    command: Any = {str(outline.name): outline for outline in OUTLINES}.get(words.pop(0))
    if isinstance(command, Outline):
        command = command.load()
    while command is not None and hasattr(command, "commands"):
        command = command.commands.get(words.pop(0)) if words else None
    if command is None:
        return False
    known = {option for parameter in command.params for option in parameter.opts}
    return {word for word in words if word.startswith("--")} <= known | {"--help"}


def test_every_proof_that_a_page_names_exists() -> None:
    proofs = [proof for page in PAGES for proof in PROOF.findall(page.read_text(encoding="utf-8"))]
    assert len(proofs) >= 5
    missing = [
        f"{path}::{name}"
        for path, name in proofs
        if not re.search(
            rf"^async def {name}\(|^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE
        )
    ]
    assert missing == []


@pytest.mark.anyio
async def test_page_of_failures_runs_as_written(rkyc_kit: Kit) -> None:
    page = run_page("failures.md")
    rkyc_kit.add(page["registry"])
    job = await rkyc_kit.run_inline("statements", {"pages": 2})
    assert job.result == {"pages": ["page 0", "page 1"]}

    # Its third attempt ends the job, the lane's policy starts it again, and then the bank is there.
    fetch, tries = page["fetch"], Counter[int]()

    async def fail(number: int) -> str:
        tries[number] += 1
        if tries[0] <= 3:
            raise RetryableException("the bank is down")
        return str(await fetch(number))

    page["fetch"] = fail
    job = await rkyc_kit.run_inline("statements", {"pages": 1})
    assert (job.status, len(job.ran)) == ("failed", 3)
    await rkyc_kit.drain(within_s=300)
    assert (await rkyc_kit.read(job.job_id)).status == "completed"


@pytest.mark.anyio
async def test_page_of_failures_shows_what_a_soft_limit_does(rkyc_kit: Kit) -> None:
    page = run_page("failures.md")
    rkyc_kit.add(page["registry"])

    async def stop_at_the_third(number: int) -> str:
        if number == 2:
            # As the engine raises it, without the wait.
            raise SoftTimeLimit
        return "page"

    page["fetch"] = stop_at_the_third
    job = await rkyc_kit.run_inline("statements", {"pages": 5})
    assert job.result == {"pages": ["page", "page"]}


@pytest.mark.anyio
async def test_a_task_in_a_paused_lane_expires_as_the_page_says(rkyc_kit: Kit) -> None:
    rkyc_kit.add(run_page("failures.md")["registry"])
    job_id = await rkyc_kit.enqueue("statements", {"pages": 1})
    async with rkyc_kit.client() as client:
        await client.pause_all("lane", "bank", None, by="test")
    rkyc_kit.clock.advance(3601)
    await rkyc_kit.drain()
    assert (await rkyc_kit.read(job_id)).error_code == TTL_EXPIRED


@pytest.mark.anyio
async def test_page_of_limits_runs_as_written(rkyc_kit: Kit) -> None:
    page = run_page("limits.md")
    rkyc_kit.add(page["registry"])
    ask, now_in, most_in = page["ask"], Counter[str](), Counter[str]()

    async def meter(corp_id: str) -> Any:
        for name in (corp_id, "all"):
            now_in[name] += 1
            most_in[name] = max(most_in[name], now_in[name])
        answer = await ask(corp_id)
        now_in.subtract((corp_id, "all"))
        return answer

    page["ask"] = meter
    await rkyc_kit.enqueue("letters", {"corp_id": "0"})
    async with rkyc_kit.client() as client:
        for number in range(9):
            await page["submit"](client, f"user {number % 3}", str(number % 2))
    jobs = await rkyc_kit.drain()
    assert [job.status for job in jobs] == ["completed"] * 10
    assert most_in["all"] <= 5
    assert (most_in["0"], most_in["1"]) == (1, 1)


@pytest.mark.anyio
async def test_page_of_schedules_runs_as_written(rkyc_kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    page = run_page("schedules.md")
    rkyc_kit.add(page["registry"])
    conn = await asyncpg.connect(rkyc_kit.dsn)
    try:
        await conn.execute("CREATE TABLE price (day text, usd int)")
        for usd in (0, 1, 2):
            await rkyc_kit.enqueue("prices", {"day": "monday", "usd": usd})
        async with rkyc_kit.client() as client:
            await CachePublisher(client, page["rates"]).publish_upsert({"currency": "usd", "rate": 1.1})
            await client.broadcast("alarms", {"n": 1})
        jobs = await rkyc_kit.drain(within_s=86_400)
        assert [job.status for job in jobs if job.pipeline == "prices"] == [
            "failed",
            "completed",
            "completed",
        ]
        assert [job.result for job in jobs if job.pipeline == "screening"] == [{"list": "all"}]
        assert [row["usd"] for row in await conn.fetch("SELECT usd FROM price ORDER BY usd")] == [1, 2]
    finally:
        await conn.close()
    assert page["rates"].get("usd") == {"currency": "usd", "rate": 1.1}
    assert "alarms {'n': 1}" in capsys.readouterr().out
