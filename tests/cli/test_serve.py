"""`serve`: its first line, its end, taken ports, and the processes set aside for suspects."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.hosts import Host, Server

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]
PROBES = ("--only-app", "--app", "tests.support.probes:registry")


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    """Look until there is something to see; the test's own time limit ends it."""
    while not (seen := await look()):
        await asyncio.sleep(0.02)
    return seen


async def submit(host: Host, pipeline: str, **input: Any) -> str:
    done = await host.run("submit", pipeline, *PROBES[1:], "--input", json.dumps(input))
    assert done.code == 0, done
    return done.out.strip()


async def show(host: Host, job_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = (await host.run("jobs", "show", job_id, "--json")).json
    return shown


async def get_status(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status


async def wait_for_step(host: Host, job_id: str, step: str) -> None:
    async def is_running() -> bool:
        steps = {row["step"]: row["status"] for row in (await show(host, job_id))["steps"]}
        return steps[step] == "running"

    await until(is_running)


async def test_first_line_says_where_it_listens_and_hides_the_password(host: Host, dsn: str) -> None:
    secret = dsn.replace("postgresql://rkyc@", "postgresql://rkyc:s3cret@")
    server = await host.serve("--port", "0", *PROBES, "--dsn", secret)
    assert server.ready["event"] == "ready"
    assert server.ready["dsn"] == dsn
    assert await get_status(f"{server.url}/readyz") == 200
    assert server.ready["worker"].endswith(f":{server.process.pid}")
    assert await server.stop() == 0


async def test_taken_port_is_named_before_anything_is_claimed(host: Host, tmp_path: Path) -> None:
    blocker = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = str(blocker.sockets[0].getsockname()[1])
    ledger = tmp_path / "ledger"
    job_id = await submit(host, "single", ledger=str(ledger), job=1)
    async with blocker:
        done = await host.run("serve", "--port", port, *PROBES)
    assert (done.code, done.out) == (2, "")
    assert port in done.err and "--port 0" in done.err and "Traceback" not in done.err
    assert (await show(host, job_id))["status"] == "pending"
    assert not ledger.exists()


async def test_drain_turns_unready_lets_the_step_finish_and_leaves_the_rest(
    host: Host, tmp_path: Path
) -> None:
    server = await host.serve("--port", "0", *PROBES)
    job_id = await submit(host, "chained", ledger=str(tmp_path / "ledger"), job=1, waits={"s2": 6})
    await wait_for_step(host, job_id, "s2")
    server.process.send_signal(signal.SIGTERM)

    async def is_unready() -> bool:
        return await get_status(f"{server.url}/readyz") == 503

    await until(is_unready)
    assert await server.process.wait() == 0
    shown = await show(host, job_id)
    assert (shown["status"], shown["pipeline_step"], shown["wait_reason"]) == ("pending", "s3", "queued")
    assert [step["attempt"] for step in shown["steps"][:3]] == [1, 1, 0]


async def test_second_interrupt_ends_at_once(host: Host, tmp_path: Path) -> None:
    server = await host.serve("--no-api", *PROBES)
    job_id = await submit(host, "single", ledger=str(tmp_path / "ledger"), job=1, wait=60)
    await wait_for_step(host, job_id, "only")
    server.process.send_signal(signal.SIGINT)

    async def is_draining() -> bool:
        return "worker.draining" in server.told()

    await until(is_draining)
    server.process.send_signal(signal.SIGINT)
    assert await server.process.wait() == 130


async def test_task_that_kills_its_process_again_and_again_is_poison_and_takes_nobody_along(
    host: Host, tmp_path: Path
) -> None:
    ledger = str(tmp_path / "ledger")
    culprit = await submit(host, "dying", ledger=ledger, job="culprit", dies=True)
    neighbour = await submit(host, "single", ledger=ledger, job="neighbour", wait=4)

    async def serve_until_it_ends() -> Server:
        server = await host.serve("--no-api", *PROBES)
        ended = asyncio.ensure_future(server.process.wait())
        followed = asyncio.ensure_future(host.run("jobs", "watch", culprit))
        await asyncio.wait({ended, followed}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not followed.done():
            followed.cancel()
        return server

    # It takes two processes down; from then on it crashes in processes of its own alone.
    for _ in range(2):
        assert not (await serve_until_it_ends()).is_alive
    survivor = await serve_until_it_ends()
    assert survivor.is_alive
    shown = await show(host, culprit)
    assert (shown["status"], shown["error_code"]) == ("failed", "POISON")
    assert (await host.run("jobs", "watch", neighbour)).code == 0
    assert (await show(host, neighbour))["status"] == "completed"
    assert await survivor.stop() == 0


async def test_process_for_suspects_ends_by_itself_when_there_is_none(host: Host) -> None:
    done = await host.run("serve", *PROBES, "--suspects", str(os.getpid()))
    assert done.code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--host", "0.0.0.0"), ("0.0.0.0", "127.0.0.1")),
        (("--lanes", "fast", "--no-api"), ("fast", "high, default, low")),
        (("--prefetch", "fast=3", "--no-api"), ("fast", "high, default, low")),
        (("--only-app",), ("--app MODULE:REGISTRY",)),
        (("--app", "tests.support.probes:nothing"), ("nothing", "Registry")),
        (("--app", "nocolon"), ("nocolon", "MODULE:REGISTRY")),
        (("--slots", "0"), ("--slots",)),
        (("--pause-in", "signal"), ("STEP:SECONDS",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_wrong_option_is_told(arguments: tuple[str, ...], told: tuple[str, ...], host: Host) -> None:
    done = await host.run("serve", *arguments)
    assert (done.code, done.out) == (2, ""), done
    assert [part for part in told if part not in done.err] == []
    assert "Traceback" not in done.err


async def test_the_example_of_one_file_is_served_by_its_path(host: Host) -> None:
    app = ("--app", str(Path(__file__).parents[2] / "examples" / "contract_review.py:registry"))
    await host.serve("--no-api", "--only-app", *app)
    given = json.dumps({"title": "Lease", "text": "It ends on 2027-03-31."})
    done = await host.run("submit", "contract-review", *app, "--input", given, "--wait")
    assert done.code == 0, done
    job = await show(host, done.out.split()[0])
    # Without a model's key the summary is left out, and the job says so.
    assert (job["status"], job["partial"]) == ("completed", True)
    assert job["result"]["dates"] == [{"clause": 1, "date": "2027-03-31"}]
