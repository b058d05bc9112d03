"""The statement loader: what becomes a parameter, and what is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from rkyc.store.pool import Pool, fetch_row, fetch_value
from rkyc.store.statements import Statement, load


def test_a_parameter_is_numbered_in_order_of_first_use() -> None:
    statement = Statement("pick", "SELECT :later, :now, :later")
    assert statement.text == "-- name: pick\nSELECT $1, $2, $1"
    assert statement.params == ("later", "now")


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("SELECT now()::date, :at::timestamptz", ("at",)),
        ("SELECT ':no', 'it''s :no', :yes", ("yes",)),
        ('SELECT ":no" FROM "t:no" WHERE x = :yes', ("yes",)),
        ("SELECT 1 -- :no\n, :yes", ("yes",)),
        ("SELECT /* :no\n :no */ :yes", ("yes",)),
        ("SELECT $$ :no $$, :yes", ("yes",)),
        ("SELECT $body$ it's $$ :no $body$, :yes", ("yes",)),
        ("SELECT E'it\\'s :no', :yes", ("yes",)),
        ("SELECT list[1:2], list[low:high], :yes", ("yes",)),
        ("SELECT (ARRAY[1,2])[low:high], list[n:]", ()),
        ("SELECT f(a := :yes)", ("yes",)),
        ("SELECT :first_1+:second", ("first_1", "second")),
    ],
)
def test_only_names_after_a_lone_colon_are_parameters(text: str, params: tuple[str, ...]) -> None:
    assert Statement("any", text).params == params


def test_arguments_follow_the_order_of_the_parameters() -> None:
    assert Statement("pick", "SELECT :b, :a").args(a=1, b=2) == [2, 1]


@pytest.mark.parametrize("values", [{}, {"a": 1}, {"a": 1, "b": 2, "c": 3}])
def test_missing_or_unknown_names_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(TypeError, match=r"statement pick takes \['a', 'b'\]"):
        Statement("pick", "SELECT :a, :b").args(**values)


def test_load_reads_every_statement_of_the_file_beside_a_module(tmp_path: Path) -> None:
    (tmp_path / "jobs.sql").write_text(
        "-- Jobs.\n\n-- name: get_job\nSELECT * FROM job WHERE id = :id;\n\n-- name: count_jobs\nSELECT count(*) FROM job;\n"
    )
    statements = load(str(tmp_path / "jobs.py"))
    assert list(statements) == ["get_job", "count_jobs"]
    assert statements["get_job"].text == "-- name: get_job\nSELECT * FROM job WHERE id = $1"
    assert repr(statements["count_jobs"]) == "Statement(count_jobs)"


@pytest.mark.anyio
async def test_postgres_understands_what_the_loader_makes(pool: Pool) -> None:
    statement = Statement(
        "tricky",
        """
        -- a comment with :no
        SELECT (ARRAY[1, 2, 3])[2:3] AS slice, ':no' AS text, "of:us" AS name, :given::int + 1 AS sum, $x$:no$x$ AS body
          FROM (SELECT 7 AS "of:us") AS t -- the end :no
        """,
    )
    async with pool.connection() as conn:
        row = await fetch_row(conn, statement, given=4)
    assert row is not None
    assert tuple(row) == ([2, 3], ":no", 7, 5, ":no")


@pytest.mark.anyio
async def test_the_name_is_what_an_operator_sees_running(pool: Pool) -> None:
    statement = Statement("show_me", "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()")
    async with pool.connection() as conn:
        assert str(await fetch_value(conn, statement)).startswith("-- name: show_me\n")
