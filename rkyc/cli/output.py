"""What commands print: tables for people, JSON for programs; messages go to stderr.

Texts of jobs and documents are untrusted: what could steer a terminal is taken out of tables. JSON
carries every value as it is.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rkyc.flow import payload
from rkyc.store.pool import Record

# Columns that the store returns as JSON text.
_JSON_FIELDS = frozenset(
    {"input", "result", "warnings", "usage", "metadata", "error_details", "open_tasks", "details", "facts"}
)
# C0 and C1 controls, bidirectional controls, line and paragraph separators.
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
_CELL_CHARS_MAX = 200


def say(message: str) -> None:
    """Tell the user something, beside the command's output."""
    print(message, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print one JSON value, indented, in UTF-8."""
    try:
        text = orjson.dumps(
            value, default=_plain, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
        ).decode()
    except orjson.JSONEncodeError:
        # An integer of more than 64 bits.
        text = json.dumps(value, default=_plain, ensure_ascii=False, indent=2)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows in aligned columns; in a pipe nothing is cut to a width."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(Text(one_line(column)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shorten(show(value))) for value in row))
    stdout_console().print(table)


def print_rows(columns: Sequence[str], rows: Sequence[Record], *, is_json: bool, empty: str) -> None:
    """Print rows of the store as a table of these columns, or whole as JSON; `empty` is told where a table has none."""
    if is_json:
        print_json([decode_row(row) for row in rows])
    elif rows:
        print_table(columns, ([row[name] for name in columns] for row in rows))
    else:
        say(empty)


def stdout_console() -> Console:
    """Return the console on stdout, wide enough for any line where no terminal sets a width."""
    return Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)


def decode_row(row: Record) -> dict[str, Any]:
    """Return a row of the store with its JSON columns as values."""
    return {
        name: payload.decode(value) if name in _JSON_FIELDS and isinstance(value, str) else value
        for name, value in row.items()
    }


def show(value: Any) -> str:
    """Write one value for a table, on one line."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict | list | tuple):
        return one_line(orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode())
    return one_line(str(value))


def one_line(text: str) -> str:
    """Return text without line breaks and without anything that steers a terminal."""
    return _STEERING.sub(" ", text)


def _shorten(text: str) -> str:
    return text if len(text) <= _CELL_CHARS_MAX else text[: _CELL_CHARS_MAX - 1] + "…"


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        # A number where it is exactly one, else its text.
        return float(value) if Decimal(str(float(value))) == value else str(value)
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return str(value)
