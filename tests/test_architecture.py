"""The rules of the house that no linter knows: layers, sizes, SQL beside its module, one reader of the environment.

Each test names the places that break its rule, so that the message is the list of what to do.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import asyncpg
import pytest

import rkyc
from rkyc.flow.states import render_markdown
from rkyc.store.statements import load

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "rkyc"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Migrations are whole files, applied as they are; `schema.sql` is generated.
STATEMENT_FILES = sorted(
    path for path in PACKAGE.rglob("*.sql") if path.parent.name != "migrations" and path.name != "schema.sql"
)
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
PUBLIC_NAMES_MAX = 20


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def calls(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each call of a dotted name, and its line."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


def test_import_contracts_are_kept() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [sys.executable, program, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_is_over_its_limit() -> None:
    files = [
        *MODULES,
        *STATEMENT_FILES,
        *sorted((ROOT / "tests").rglob("*.py")),
        *sorted((ROOT / "bench").rglob("*.py")),
    ]
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES_MAX} == {}


def test_no_function_is_over_its_limit() -> None:
    long = {}
    for path in MODULES:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long[f"{name_of(path)}:{node.name}"] = lines
    assert long == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        name_of(path) for path in MODULES if path.name != "__init__.py" and not ast.get_docstring(parse(path))
    ]
    assert silent == []


def test_only_the_package_itself_has_content_in_its_init() -> None:
    full = [
        name_of(path) for path in PACKAGE.glob("*/**/__init__.py") if path.read_text(encoding="utf-8").strip()
    ]
    assert full == []


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in MODULES}
    assert [name_of(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_public_names_are_sorted_few_and_there() -> None:
    assert rkyc.__all__ == sorted(rkyc.__all__)
    assert len(rkyc.__all__) < PUBLIC_NAMES_MAX
    assert all(getattr(rkyc, name) is not None for name in rkyc.__all__)
    assert set(rkyc.__all__) <= set(dir(rkyc))


def test_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="rkyc has no attribute 'Nonsense'"):
        _ = rkyc.Nonsense


def test_exported_lists_are_sorted() -> None:
    unsorted = []
    for path in MODULES:
        for node in parse(path).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names = ast.literal_eval(node.value)
                unsorted += [name_of(path)] if names != sorted(names) else []
    assert unsorted == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    forbidden = {
        "utils",
        "util",
        "helpers",
        "helper",
        "common",
        "manager",
        "base",
        "misc",
        "core",
        "new",
        "v2",
    }
    stems = {name_of(path): set(path.stem.split("_")) for path in MODULES}
    assert [name for name, words in stems.items() if words & forbidden] == []


def test_every_error_is_caught_in_executor_and_loop_alone() -> None:
    # A child process sends every error to its parent; `decide` reads texts of errors that are a user's own classes.
    allowed = re.compile(r"rkyc/(engine/(executor|loop|children)\w*|flow/decide)\.py")
    found = []
    for path in MODULES:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ExceptHandler) and not allowed.fullmatch(name_of(path)):
                kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
                names = {ast.unparse(kind) if kind else "everything" for kind in kinds}
                # Whoever catches all and raises again only cleans up.
                raises_again = any(
                    isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node)
                )
                if names & {"Exception", "everything"} or ("BaseException" in names and not raises_again):
                    found.append(f"{name_of(path)}:{node.lineno}")
    assert found == []


def test_there_is_one_loop_per_process() -> None:
    starters = {
        "asyncio.run",
        "asyncio.new_event_loop",
        "asyncio.set_event_loop",
        "asyncio.Runner",
        "anyio.run",
    }
    starters |= {"uvloop.run", "uvloop.new_event_loop", "uvloop.install"}
    # A test run is a program of its own.
    allowed = re.compile(r"rkyc/(__main__\.py|cli/.*|testing/plugin\.py)")
    found = [
        f"{name_of(path)}:{line}"
        for path in MODULES
        if not allowed.fullmatch(name_of(path))
        for name, line in calls(path)
        if name in starters
    ]
    assert found == []


def test_environment_is_read_by_the_settings_alone() -> None:
    # The account that runs Postgres gets a clean environment made of the present one.
    allowed = {"rkyc/config.py", "rkyc/testing/plugin.py"}
    passes_on = re.compile(
        r"\{\*\*os\.environ|dict\(os\.environ\)|os\.environ\.(copy|items)\(\)|os\.environ\)"
    )
    found = []
    for path in MODULES:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if (
                re.search(r"os\.(environ|getenv)", line)
                and not passes_on.search(line)
                and name_of(path) not in allowed
            ):
                found.append(f"{name_of(path)}:{number}: {line.strip()}")
    assert found == []


def test_handlers_are_made_in_one_place() -> None:
    found = [
        f"{name_of(path)}:{line} {name}"
        for path in MODULES
        for name, line in calls(path)
        if name.endswith(("logging.getLogger", "basicConfig")) and name_of(path) != "rkyc/telemetry/logs.py"
    ]
    assert found == []


def test_every_statement_file_stands_beside_its_module() -> None:
    assert [name_of(path) for path in STATEMENT_FILES if not path.with_suffix(".py").exists()] == []


@pytest.mark.parametrize("path", STATEMENT_FILES, ids=name_of)
def test_every_statement_is_used_by_its_module(path: Path) -> None:
    module = parse(path.with_suffix(".py"))
    words = {
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    taken = {
        node.slice.value
        for node in ast.walk(module)
        if isinstance(node, ast.Subscript)
        and ast.unparse(node.value) == "_SQL"
        and isinstance(node.slice, ast.Constant)
    }
    names = set(load(str(path)))
    assert (names - words, taken - names) == (set(), set())


def test_sql_stands_in_sql_files() -> None:
    sql = re.compile(
        r"\s*(SELECT\s.+\sFROM|INSERT INTO|UPDATE\s+\S+\s+SET|DELETE FROM|CREATE TABLE)\s", re.DOTALL
    )
    # Before there is a schema there is nothing to prepare against.
    allowed = {"rkyc/store/migrate.py"}
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in MODULES
        if name_of(path) not in allowed
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and sql.match(node.value)
    ]
    assert found == []


@pytest.mark.anyio
@pytest.mark.parametrize("path", STATEMENT_FILES, ids=name_of)
async def test_every_statement_prepares_on_a_migrated_database(path: Path, dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    broken = {}
    try:
        for name, statement in load(str(path)).items():
            try:
                await conn.prepare(statement.text)
            except asyncpg.PostgresError as error:
                broken[name] = str(error)
    finally:
        await conn.close()
    assert broken == {}


def test_document_of_the_states_is_the_code() -> None:
    assert (ROOT / "docs" / "state_machine.md").read_text(encoding="utf-8") == render_markdown(), (
        "write it anew: python -m rkyc.flow.states > docs/state_machine.md"
    )


def test_no_place_of_one_machine_stands_in_the_code() -> None:
    place = re.compile(r"(?<![\w./])/(home|root|Users|work|mnt|opt)/[a-z]")
    # What other programs do with such a place is tested with made-up ones.
    files = [
        *MODULES,
        *STATEMENT_FILES,
        *sorted((ROOT / "docs").rglob("*.md")),
        ROOT / "README.md",
        ROOT / "Makefile",
    ]
    found = [
        f"{name_of(path)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if place.search(line)
    ]
    assert found == []


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"#.*\b(TODO|FIXME|XXX|HACK)\b")
    found = []
    for path in MODULES:
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [f"{name_of(path)}:{number}" for number, line in enumerate(lines, 1) if later.search(line)]
        raised = [ast.unparse(node) for node in ast.walk(parse(path)) if isinstance(node, ast.Raise)]
        found += [
            f"{name_of(path)}: {statement}" for statement in raised if "NotImplementedError" in statement
        ]
    assert found == []


def test_no_test_is_skipped() -> None:
    skip = re.compile(r"pytest\.(skip|xfail|importorskip)\(|mark\.(skip|skipif|xfail)\b")
    here = Path(__file__)
    found = [
        name_of(path)
        for path in (ROOT / "tests").rglob("*.py")
        if path != here and skip.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []
