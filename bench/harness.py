"""Where and how the cases run: a server, a fresh database per run, worker processes, the record.

Without BENCH_DSN a private Postgres with durable settings is made in a temporary folder and removed
at the end; with it, the cases make and drop databases of their own on that server. BENCH_RUNS is how
many rounds are measured (5). A case is a module with `measure(bench)`; `run_case` is its `main`. With
`--long` a case measures more, or for longer (`Bench.is_long`); `make bench` runs the short forms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import os
import secrets
import shutil
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import uvloop

import rkyc
from bench import bare
from bench.machine import (
    describe_commit,
    describe_machine,
    describe_postgres,
    find_postmaster,
    measure_sync_ms,
)
from bench.marks import Marks
from bench.measure import Measure
from bench.pipelines import build_registry
from rkyc.engine.client import Client
from rkyc.store.embedded import start_embedded, stop_embedded
from rkyc.store.migrate import migrate
from rkyc.store.pool import Pool
from rkyc.store.queue.pipelines import register_pipelines

# Of its own, or lent by a pool.
Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)
CaseFunction: TypeAlias = "Callable[[Bench], Awaitable[list[Measure]]]"

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent
RUNS_DEFAULT = 5
# As users have them; said here so that no default of a build decides. Seconds for a process to come up and to end.
_SETTINGS = {"fsync": "on", "synchronous_commit": "on"}
_PATIENCE_S = 60.0
_NOTHING: Mapping[str, str] = MappingProxyType({})
_CALLS = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = $1"


@dataclass(frozen=True, slots=True)
class Process:
    """A worker of the bench, as a process that waits at its gate."""

    process: asyncio.subprocess.Process

    @classmethod
    @contextlib.asynccontextmanager
    async def start(
        cls, command: Sequence[object], *, environ: Mapping[str, str] = _NOTHING
    ) -> AsyncIterator[Process]:
        """Start `python -m COMMAND…`, and stop it at the end of the block."""
        # Nothing of the environment may steer what is measured.
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("RKYC_", "PG", "PYTHON"))}
        arguments = [sys.executable, "-m", *map(str, command)]
        started = cls(
            await asyncio.create_subprocess_exec(
                *arguments, cwd=ROOT, env={**clean, **environ}, stdin=PIPE, stdout=PIPE
            )
        )
        try:
            yield started
        finally:
            await started.stop()

    @property
    def pid(self) -> int:
        return self.process.pid

    async def read_line(self) -> str:
        """Return the next line that the process prints; empty when it has ended."""
        assert self.process.stdout is not None
        async with asyncio.timeout(_PATIENCE_S):
            line = await self.process.stdout.readline()
        return line.decode().strip()

    async def expect(self, word: str) -> None:
        """Wait until the process says a word on a line of its own."""
        if await self.read_line() != word:
            raise SystemExit(f"a worker process of the bench ended before it was {word}: see its error above")

    def open_gate(self) -> None:
        """Let it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")

    async def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """Let it drain and end."""
        if self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self.process.wait()
        except TimeoutError:
            await self.kill()


@dataclass(frozen=True, slots=True)
class Bench:
    """What a case gets."""

    dsn: str
    folder: Path
    postmaster: int | None
    runs: int
    postgres: dict[str, str]
    machine: dict[str, Any]
    is_long: bool = False

    @contextlib.asynccontextmanager
    async def rkyc_database(self) -> AsyncIterator[tuple[str, Client]]:
        """Make a migrated database that knows the probe pipelines; yield its DSN and a client on it."""
        async with self._database() as dsn:
            pool = await Pool.open(dsn)
            try:
                async with pool.connection() as conn:
                    await migrate(conn)
                    await register_pipelines(conn, build_registry(self.make_marks(1)))
                yield dsn, Client(pool=pool)
            finally:
                await pool.close()

    @contextlib.asynccontextmanager
    async def bare_database(self) -> AsyncIterator[tuple[str, Connection]]:
        """Make a database with the tables of the baseline; yield its DSN and a connection."""
        async with self._database() as dsn:
            conn = await asyncpg.connect(dsn)
            try:
                await conn.execute(bare.SQL["create_tables"].text)
                yield dsn, conn
            finally:
                await conn.close()

    @contextlib.asynccontextmanager
    async def processes(self, commands: Sequence[Sequence[object]]) -> AsyncIterator[list[Process]]:
        """Start `python -m COMMAND…` for each, all ready at their gates; stop them at the end."""
        async with contextlib.AsyncExitStack() as stack:
            started = [await stack.enter_async_context(Process.start(command)) for command in commands]
            for process in started:
                await process.expect("ready")
            yield started

    def make_marks(self, cells: int) -> Marks:
        """Make a file of marks in the bench's folder."""
        return Marks.create(self.folder / f"marks-{secrets.token_hex(4)}", cells)

    async def wal_bytes(self) -> int:
        """Return how many bytes of WAL the server has ever written."""
        conn = await asyncpg.connect(self.dsn)
        try:
            value: int = await conn.fetchval(
                "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
            )
            return value
        finally:
            await conn.close()

    @contextlib.asynccontextmanager
    async def with_statement_counts(self) -> AsyncIterator[Bench]:
        """Yield a bench on a server that counts statements, which the others must not pay for."""
        if "BENCH_DSN" in os.environ:
            await _require_counts(self.dsn)
            yield self
            return
        home = self.folder / "counting"
        settings = {**_SETTINGS, "shared_preload_libraries": "pg_stat_statements"}
        server = await start_embedded(home, settings=settings)
        try:
            await _require_counts(server.dsn)
            yield replace(self, dsn=server.dsn, postmaster=server.pid)
        finally:
            await _remove_server(home)

    async def count_statements(self, dsn: str) -> int:
        """Return how many statements the database of the DSN has run, on a server that counts them."""
        conn = await asyncpg.connect(self.dsn)
        try:
            count: int = await conn.fetchval(_CALLS, urlsplit(dsn).path.removeprefix("/"))
            return count
        finally:
            await conn.close()

    @contextlib.asynccontextmanager
    async def _database(self) -> AsyncIterator[str]:
        name = f"bench_{secrets.token_hex(4)}"
        admin = await asyncpg.connect(self.dsn)
        try:
            await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
            # What earlier runs left to write must not be written in the next one.
            await admin.execute("CHECKPOINT")
            try:
                yield urlsplit(self.dsn)._replace(path=f"/{name}").geturl()
            finally:
                await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            await admin.close()


@contextlib.asynccontextmanager
async def open_bench(*, runs: int | None = None, is_long: bool = False) -> AsyncIterator[Bench]:
    """Start or reach the server, and clean up at the end."""
    if Path(rkyc.__file__).parent.parent != ROOT:
        raise SystemExit(
            f"rkyc is imported from {Path(rkyc.__file__).parent}, not from beside bench: run `python -m bench.…` in {ROOT}"
        )
    folder = Path(tempfile.mkdtemp(prefix="rkyc-bench-"))
    dsn = os.environ.get("BENCH_DSN")
    try:
        if dsn is None:
            dsn = (await start_embedded(folder / "server", settings=_SETTINGS)).dsn
        conn = await asyncpg.connect(dsn)
        try:
            postmaster = await find_postmaster(conn)
            postgres = await describe_postgres(conn)
        finally:
            await conn.close()
        machine = describe_machine()
        if "BENCH_DSN" not in os.environ:
            # Beside the data, which may lie behind a link.
            machine["fdatasync_ms"] = measure_sync_ms((folder / "server" / "pg").resolve().parent)
        rounds = runs or int(os.environ.get("BENCH_RUNS", RUNS_DEFAULT))
        yield Bench(dsn, folder, postmaster, rounds, postgres, machine, is_long)
    finally:
        if "BENCH_DSN" not in os.environ:
            await _remove_server(folder / "server")
        shutil.rmtree(folder, ignore_errors=True)


async def _remove_server(home: Path) -> None:
    await stop_embedded(home)
    # Under root the data may lie elsewhere, behind a link.
    shutil.rmtree((home / "pg").resolve(), ignore_errors=True)


async def _require_counts(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        await conn.fetchval(_CALLS, "")
    except asyncpg.PostgresError as error:
        raise SystemExit(f"the server can't count statements, which this case needs: {error}") from error
    finally:
        await conn.close()


def command(module: str, **options: object) -> list[object]:
    """Write a command line: `heir_of=1` is `--heir-of 1`."""
    pairs = [(f"--{name.replace('_', '-')}", value) for name, value in options.items()]
    return [module, *(part for pair in pairs for part in pair)]


async def wait_until(is_met: Callable[[], bool], *, what: str, patience_s: float = 120.0) -> None:
    """Look every 2 ms until it is so; what it looks at must be cheap, a mark for instance."""
    try:
        async with asyncio.timeout(patience_s):
            while not is_met():  # noqa: ASYNC110 -- it is another process that sets it
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise SystemExit(f"after {patience_s:g} s still not so: {what}") from None


async def record(
    name: str, measure: CaseFunction, bench: Bench, *, save: bool, is_quiet: bool = False
) -> tuple[list[Measure], dict[str, Any]]:
    """Run a case, print its lines (to stderr, when quiet), keep its result when asked to."""
    result: dict[str, Any] = {
        "case": name,
        "command": f"python -m bench.{name}{' --long' if bench.is_long else ''} --runs {bench.runs}",
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": describe_commit(),
        "machine": bench.machine,
        "postgres": bench.postgres,
        "runs": bench.runs,
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }
    measures = await measure(bench)
    result["load_after"] = [round(load, 2) for load in os.getloadavg()]
    result["measures"] = [one.as_json() for one in measures]
    for one in measures:
        print(f"{name} · {one.describe()}", file=sys.stderr if is_quiet else sys.stdout, flush=True)
    if save:
        _append(RESULTS / f"{result['at'][:10]}-{name}.json", result)
    return measures, result


def parse_rounds(text: str) -> int:
    """Return a number of rounds, at least one."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds: expected 1 or more")
    return int(text)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what every case and `bench.run` understand."""
    parser.add_argument("--runs", type=parse_rounds, help="rounds to measure (BENCH_RUNS, else 5)")
    parser.add_argument("--long", action="store_true", help="the long form: more sizes, longer times")
    parser.add_argument("--save", action="store_true", help="append the result to bench/results")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout, the lines on stderr")


def run_case(name: str, measure: CaseFunction) -> None:
    """Be the `main` of one case."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}")
    add_options(parser)
    options = parser.parse_args()

    async def run() -> None:
        async with open_bench(runs=options.runs, is_long=options.long) as bench:
            _, result = await record(name, measure, bench, save=options.save, is_quiet=options.json)
        if options.json:
            print(json.dumps(result, indent=1))

    uvloop.run(run())


def _append(path: Path, result: dict[str, Any]) -> None:
    """Add a result to the day's list of its case."""
    path.parent.mkdir(exist_ok=True)
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    path.write_text(json.dumps([*earlier, result], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
