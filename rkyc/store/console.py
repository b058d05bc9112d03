"""Statements that a person types: run one, in a transaction that may only read unless told.

What Postgres says about a statement is the caller's mistake and becomes a message with its hint.
Values come as Python's own, JSON columns decoded.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import asyncpg

from rkyc.errors import InvalidInputError
from rkyc.flow import payload
from rkyc.store.pool import LOST_CONNECTION, Connection

_JSON_TYPES = ("json", "jsonb")


@dataclass(frozen=True, slots=True)
class Answer:
    """`rows` are in the order of `columns`; a statement without rows has a `status` such as `UPDATE 3`."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    status: str


async def run_statement(conn: Connection, text: str, *, writes: bool = False) -> Answer:
    """Run one statement.

    Raises:
        InvalidInputError: Postgres refused it, or it writes and `writes` is False.
    """
    try:
        # A statement that writes commits by itself: VACUUM and its kin refuse a transaction.
        async with contextlib.nullcontext() if writes else conn.transaction(readonly=True):
            statement = await conn.prepare(text)
            attributes = statement.get_attributes()
            records = await statement.fetch()
            status = statement.get_statusmsg() or ""
    except LOST_CONNECTION:
        raise
    except asyncpg.ReadOnlySQLTransactionError as error:
        raise InvalidInputError(f"{error}: `rkyc sql --write` may change the database") from error
    except asyncpg.PostgresError as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise InvalidInputError(f"the database refused the statement: {error}{hint}") from error
    is_json = [attribute.type.name in _JSON_TYPES for attribute in attributes]
    rows = [
        tuple(
            payload.decode(value) if decode else value for value, decode in zip(record, is_json, strict=True)
        )
        for record in records
    ]
    return Answer(tuple(attribute.name for attribute in attributes), rows, status)
