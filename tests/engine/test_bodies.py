"""Whatever a body does, its job ends with a code; nothing keeps it running for ever, no neighbour suffers."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rkyc.engine.client import Client
from rkyc.errors import LeaseLostError, OcrUnavailableError, PermanentException, RetryableException
from rkyc.flow.graph import chain
from rkyc.flow.pipeline import Pipeline
from rkyc.flow.retry import RetryPolicy, Timeouts
from rkyc.flow.step import step
from rkyc.store.pool import Pool
from tests.support.engine import query, serve, tasks_left, wait_all_ended, wait_status

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(max_attempts=1)
TWICE = RetryPolicy(max_attempts=2, initial_s=0.01, max_s=0.01)
DEEP: list[Any] = []
for _ in range(3000):
    DEEP = [DEEP]

OUTPUTS: dict[str, Any] = {
    "nul": {"t": "a\0b"},
    "surrogate": {"t": "half \ud800"},
    "nan": {"n": math.nan},
    "infinite": [math.inf],
    "object": {"o": object()},
    "function": lambda: 1,
    "bytes": b"x",
    "deep": DEEP,
    "too_large": "x" * 16_000_001,
}


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class OddError(PermanentException):
    error_code = "ODD"


async def cancelled_inside() -> None:
    inner = asyncio.ensure_future(asyncio.sleep(10))
    inner.cancel()
    await inner


async def exit_the_program() -> None:
    sys.exit(3)


def raising(error: BaseException) -> Any:
    async def body() -> None:
        raise error

    return body


BODIES: dict[str, tuple[Any, str]] = {
    "bug": (raising(ZeroDivisionError("division by zero")), "WORKER_ERROR"),
    "surrogate_in_message": (raising(ValueError("file \udce4.pdf")), "WORKER_ERROR"),
    "surrogate_in_permanent": (raising(PermanentException("file \udce4.pdf")), "PERMANENT"),
    "nul_in_message": (raising(OddError("a\0b")), "ODD"),
    "details_no_json": (raising(OddError("x", {"o": object()})), "ODD"),
    "details_nan": (raising(OddError("x", {"o": math.nan})), "ODD"),
    "retryable_surrogate": (raising(RetryableException("\udce4")), "RETRYABLE"),
    "retry_after_infinite": (raising(RetryableException("x", {"retry_after": -math.inf})), "RETRYABLE"),
    "partial": (raising(OcrUnavailableError("no OCR")), "OCR_UNAVAILABLE"),
    "unspeakable": (raising(Unspeakable()), "WORKER_ERROR"),
    "lease_lost_lie": (raising(LeaseLostError("not true")), "LEASE_LOST"),
    "cancelled_inside": (cancelled_inside, "WORKER_ERROR"),
    "cancelled_raised": (raising(asyncio.CancelledError()), "WORKER_ERROR"),
    "exit": (exit_the_program, "WORKER_ERROR"),
    "stop_iteration": (raising(StopAsyncIteration()), "WORKER_ERROR"),
    "group": (raising(ExceptionGroup("many", [ValueError("x")])), "WORKER_ERROR"),
}


@step(retry=TWICE)
async def misbehave(ctx: Any, input: dict[str, Any]) -> Any:
    """Return or raise what the input names."""
    if input["what"] in OUTPUTS:
        return OUTPUTS[input["what"]]
    await BODIES[input["what"]][0]()
    return None


@step
async def behave(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return {"said": input.get("what")}


@step(retry=TWICE)
async def misbehave_beside(ctx: Any, input: dict[str, Any]) -> Any:
    """Leave something beside the output that can't be stored."""
    if input["what"] == "metadata":
        ctx.metadata(bad=OUTPUTS["surrogate"])
    elif input["what"] == "warning":
        ctx.warn("BAD", "half \ud800")
    elif input["what"] == "call":
        await ctx.call("bad", lambda: asyncio.sleep(0, OUTPUTS["nul"]))
    return {}


MISBEHAVING = Pipeline(
    "misbehaving", 1, chain(behave, misbehave_beside.named("beside"), misbehave, behave.named("after"))
)
FIRST = Pipeline("misbehaving_first", 1, misbehave)
BESIDE = Pipeline("misbehaving_beside", 1, chain(misbehave_beside, behave))
HEALTHY = Pipeline("healthy", 1, chain(behave, behave.named("again")))


@pytest.fixture
async def client(dsn: str, pool: Pool) -> AsyncIterator[Client]:
    async with serve(dsn, MISBEHAVING, FIRST, BESIDE, HEALTHY):
        yield Client(pool=pool)


@pytest.mark.parametrize("what", OUTPUTS)
async def test_an_output_that_can_not_be_stored_fails_its_job_alone(
    client: Client, pool: Pool, what: str
) -> None:
    culprit = await client.enqueue("misbehaving_first", {"what": what})
    mates = await client.enqueue_many("healthy", [{"what": number} for number in range(20)])
    row = await wait_status(pool, culprit)
    assert (row["status"], row["error_code"]) == ("failed", "OUTPUT_INVALID")
    for mate in mates:
        assert (await wait_status(pool, mate))["status"] == "completed"
    assert await tasks_left(pool) == []


@pytest.mark.parametrize("what", BODIES)
async def test_an_error_of_any_kind_ends_its_job_with_a_code(client: Client, pool: Pool, what: str) -> None:
    culprit = await client.enqueue("misbehaving_first", {"what": what})
    mate = await client.enqueue("healthy", {"what": 1})
    row = await wait_status(pool, culprit)
    assert (row["status"], row["error_code"]) == ("failed", BODIES[what][1])
    assert (await wait_status(pool, mate))["status"] == "completed"
    assert await tasks_left(pool) == []


@pytest.mark.parametrize("what", ["metadata", "warning", "call"])
async def test_what_is_left_beside_the_output_is_held_to_the_same(
    client: Client, pool: Pool, what: str
) -> None:
    culprit = await client.enqueue("misbehaving_beside", {"what": what})
    row = await wait_status(pool, culprit)
    assert (row["status"], row["error_code"]) == ("failed", "OUTPUT_INVALID")


async def test_a_hundred_outputs_at_once_and_nine_that_can_not_be_stored(client: Client, pool: Pool) -> None:
    culprits = await client.enqueue_many("misbehaving_first", [{"what": what} for what in OUTPUTS])
    mates = await client.enqueue_many("healthy", [{"what": number} for number in range(100)])
    counts = await wait_all_ended(pool, len(culprits) + len(mates))
    assert counts == {"failed": len(OUTPUTS), "completed": 100}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"what": 123456789012345678901234567890}', 123456789012345678901234567890),
        ('{"what": 1e400}', 10**400),
        ('{"what": -9223372036854775809}', -9223372036854775809),
        ('{"what": 0.1}', 0.1),
        ('{"what": "\\ud83d\\ude00"}', "😀"),
        ('{"what": 1.7976931348623157e308}', 1.7976931348623157e308),
    ],
)
async def test_numbers_of_any_size_travel_through_the_steps_exactly(
    client: Client, pool: Pool, text: str, expected: Any
) -> None:
    rows = await query(pool, "SELECT rkyc.enqueue('healthy', $1::text::jsonb)", text)
    row = await wait_status(pool, rows[0][0])
    assert row["status"] == "completed"
    # `again` got what `behave` said, through a checkpoint, and said it in its turn: null, since it is called `said`.
    stored = await query(pool, "SELECT output FROM rkyc.checkpoint")
    said = json.loads(stored[0]["output"])["said"]
    assert (float(said) if isinstance(expected, float) else said) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"what": ' + "9" * 5000 + "}", "INPUT_INVALID"),
        ("[" * 3000 + "]" * 3000, "INPUT_INVALID"),
        ('"a string"', "VALIDATION_ERROR"),
        ("null", "VALIDATION_ERROR"),
        ("[1]", "VALIDATION_ERROR"),
        ('{"what": ' + "1" * 400 + ".5}", "INPUT_INVALID"),
    ],
)
async def test_an_input_that_can_not_be_read_fails_its_job_alone(
    client: Client, pool: Pool, text: str, code: str
) -> None:
    rows = await query(pool, "SELECT rkyc.enqueue('healthy', $1::text::jsonb)", text)
    mate = await client.enqueue("healthy", {"what": 1})
    row = await wait_status(pool, rows[0][0])
    assert (row["status"], row["error_code"]) == ("failed", code)
    assert (await wait_status(pool, mate))["status"] == "completed"


async def break_save(conn: Any, output: Any) -> None:
    raise PermanentException("save said no")


@step(retry=ONCE, optional=True, save=break_save)
async def optional_save(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    return {}


@step(retry=ONCE, optional=True)
async def optional_fail(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    raise PermanentException("could not")


@step(retry=ONCE, optional=True)
async def optional_bad_output(ctx: Any, input: dict[str, Any]) -> Any:
    return OUTPUTS["nul"]


@step
async def finish(ctx: Any, input: Any) -> dict[str, Any]:
    return {"got": input}


@pytest.mark.parametrize(
    "optional", [optional_save, optional_fail, optional_bad_output], ids=lambda one: one.name
)
async def test_an_optional_step_that_fails_degrades_the_job_and_it_goes_on(
    dsn: str, pool: Pool, optional: Any
) -> None:
    async with serve(dsn, Pipeline("optional", 1, chain(optional, finish))):
        job = await Client(pool=pool).enqueue("optional", {})
        row = await wait_status(pool, job)
    assert row["status"] == "completed"
    assert row["partial"] is True
    assert json.loads(row["result"]) == {"got": None}
    assert optional.name in row["warnings"]


@step(retry=ONCE, timeouts=Timeouts(start_to_close=0.2))
async def swallow_the_cancel(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        if input["then"] == "heartbeat":
            await ctx.heartbeat()
        if input["then"] == "raise":
            raise ValueError("cleaning up failed") from None
    return {"then": input["then"]}


@step
async def sleep_a_little(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0.3)
    await ctx.heartbeat()
    return input


@pytest.mark.parametrize(
    ("then", "status", "code"),
    [
        ("return", "completed", None),
        ("heartbeat", "failed", "STEP_TIMEOUT"),
        ("raise", "failed", "STEP_TIMEOUT"),
    ],
)
async def test_a_body_that_swallows_its_cancel_ends_all_the_same(
    dsn: str, pool: Pool, then: str, status: str, code: str | None
) -> None:
    async with serve(dsn, Pipeline("stubborn", 1, chain(swallow_the_cancel, sleep_a_little))):
        job = await Client(pool=pool).enqueue("stubborn", {"then": then})
        row = await wait_status(pool, job)
    assert (row["status"], row["error_code"]) == (status, code)
