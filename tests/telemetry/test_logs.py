"""Logs: format, levels, one handler, fields that can't break a line."""

from __future__ import annotations

import io
import itertools
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from rkyc.telemetry import events
from rkyc.telemetry.logs import FIELD_CHARS_MAX, get_logger, parse_level, setup_logger

_numbers = itertools.count()
SetUp = Callable[..., tuple[str, io.StringIO]]


@pytest.fixture
def set_up() -> Iterator[SetUp]:
    """Set up a logger of this test's own; returns its name and what it writes to."""
    names = []

    def make(**options: str) -> tuple[str, io.StringIO]:
        name, stream = f"logs-test-{next(_numbers)}", io.StringIO()
        names.append(name)
        setup_logger(name, stream=stream, **options)
        return name, stream

    yield make
    for name in names:
        logging.getLogger(name).handlers.clear()


def test_text_line_has_the_promised_format(set_up: SetUp) -> None:
    name, stream = set_up()
    get_logger(f"{name}.engine").info(
        events.STEP_FINISHED, job_id=UUID(int=1), attempt=2, duration_s=0.12345678
    )
    assert re.fullmatch(
        rf"\[\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\] INFO {name}\.engine: step\.finished "
        r"job_id=00000000-0000-0000-0000-000000000001 attempt=2 duration_s=0\.123457\n",
        stream.getvalue(),
    )


def test_json_line_holds_event_and_fields(set_up: SetUp) -> None:
    name, stream = set_up(log_format="json")
    get_logger(name).warning(
        events.LOOP_FAILED, loop="reclaim", failures=3, job_id=UUID(int=1), event_name="x"
    )
    line = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("ts"))
    assert line == {
        "level": "WARNING",
        "logger": name,
        "event": "loop.failed",
        "loop": "reclaim",
        "failures": 3,
        "job_id": "00000000-0000-0000-0000-000000000001",
        "event_name": "x",
    }


LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR"]


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("DEBUG", LEVELS),
        ("INFO", LEVELS[1:]),
        ("WARNING", LEVELS[2:]),
        ("ERROR", LEVELS[3:]),
        ("CRITICAL", []),
        ("info", LEVELS[1:]),
        ("foo", LEVELS[1:]),
        ("HANDLERS", LEVELS[1:]),
        ("", LEVELS[1:]),
    ],
)
def test_level_decides_which_lines_are_written(set_up: SetUp, level: str, written: list[str]) -> None:
    name, stream = set_up(level=level)
    logger = get_logger(name)
    for write in (logger.debug, logger.info, logger.warning, logger.error):
        write("thing.happened")
    assert [line.split()[2] for line in stream.getvalue().splitlines()] == written


def test_level_is_known_in_any_case_and_unknown_is_info() -> None:
    assert [parse_level(level) for level in ("debug", " WARNING ", "nonsense")] == [10, 30, 20]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_setting_up_three_times_writes_each_line_once(set_up: SetUp, log_format: str) -> None:
    name, stream = set_up()
    for _ in range(2):
        setup_logger(name, stream=stream, log_format=log_format)
    get_logger(f"{name}.child").info("thing.happened")
    assert len(logging.getLogger(name).handlers) == 1
    assert stream.getvalue().count("thing.happened") == 1


def test_set_up_child_does_not_repeat_lines_of_its_parent(set_up: SetUp) -> None:
    name, stream = set_up()
    setup_logger(f"{name}.child", stream=stream)
    get_logger(f"{name}.child").info("thing.happened")
    logging.getLogger(f"{name}.child").handlers.clear()
    assert stream.getvalue().count("thing.happened") == 1


def test_value_stays_one_word_of_one_line(set_up: SetUp) -> None:
    name, stream = set_up()
    get_logger(name).info(
        "thing.happened", error='broken "quote"\n[2026-01-01 00:00:00] INFO forged: line', empty=""
    )
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].endswith('error="broken \\"quote\\"\\n[2026-01-01 00:00:00] INFO forged: line" empty=""')


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_long_value_is_cut(set_up: SetUp, log_format: str) -> None:
    name, stream = set_up(log_format=log_format)
    get_logger(name).info("thing.happened", text="가" * 100_000)
    assert stream.getvalue().count("가") == FIELD_CHARS_MAX


def test_bound_fields_stand_on_each_line(set_up: SetUp) -> None:
    name, stream = set_up()
    logger = get_logger(name).bind(job_id=7)
    logger.info("thing.happened", step="a")
    logger.bind(step="b").info("thing.happened", step="c")
    assert [line.split(": ")[1] for line in stream.getvalue().splitlines()] == [
        "thing.happened job_id=7 step=a",
        "thing.happened job_id=7 step=c",
    ]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_stack_of_the_handled_error_is_written_on_request(set_up: SetUp, log_format: str) -> None:
    name, stream = set_up(log_format=log_format)
    try:
        raise LookupError("gone")
    except LookupError:
        get_logger(name).error("thing.failed", exc_info=True)
    assert "LookupError: gone" in stream.getvalue()
    assert "test_logs.py" in stream.getvalue()


def test_integer_beyond_64_bits_does_not_break_json(set_up: SetUp) -> None:
    name, stream = set_up(log_format="json")
    get_logger(name).info("thing.happened", number=2**80, small=1)
    assert json.loads(stream.getvalue())["number"] == str(2**80)


def test_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    name = f"logs-test-{next(_numbers)}"
    setup_logger(name)
    get_logger(name).info("thing.happened")
    logging.getLogger(name).handlers.clear()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "thing.happened" in captured.err


def test_nothing_is_written_before_set_up_inside_another_program() -> None:
    program = (
        "from rkyc.telemetry.logs import get_logger\n"
        "get_logger('rkyc.engine').info('thing.happened')\n"
        "get_logger('rkyc.engine').debug('thing.happened')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_event_names_are_unique_and_say_thing_and_what_happened() -> None:
    names = [value for key, value in vars(events).items() if key.isupper()]
    assert len(names) == len(set(names)) > 30
    assert all(re.fullmatch(r"[a-z_]+\.[a-z_]+", name) for name in names)
