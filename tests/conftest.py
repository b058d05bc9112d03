"""Fixtures of all tests: one Postgres per run, a fresh database per test, an empty environment.

`dsn` is a migrated database of the test's own, `pool` is open on it. `RKYC_TEST_DSN` (a superuser of
a Postgres >= 15) runs the suite there instead of on the embedded one.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import pytest

from rkyc.store.embedded import EmbeddedServer, start_embedded, stop_embedded
from rkyc.store.pool import Pool
from tests.support.database import FAST_SETTINGS, fresh_database, make_template

# As users get it by the package's entry point.
pytest_plugins = ["rkyc.testing.plugin"]

# Set by the run's first process, inherited by its workers.
_HOME_VARIABLE = "RKYC_TEST_HOME"
_HOME_PREFIX = "rkyc-tests-"
_MEMORY_BYTES_MIN = 8 << 30
_ADMIN_DSN = os.environ.get("RKYC_TEST_DSN")
# Nothing of the developer's own may steer a test.
_FOREIGN_PREFIXES = (
    "RKYC_",
    "PG",
    "XDG_",
    "ENCRYPTION_KEY",
    "INTERNAL_LLM_",
    "ANTHROPIC_",
    "OPENAI_",
    "PERPLEXITY_",
)
_FOREIGN_NAMES = ("LOG_LEVEL",)
# Seconds for the workers of a parallel run to end.
_WORKERS_END_S = 10.0


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        _remove_abandoned()
        os.environ[_HOME_VARIABLE] = tempfile.mkdtemp(prefix=_HOME_PREFIX, dir=_find_fast_folder())
    config.stash[_HOME] = Path(os.environ[_HOME_VARIABLE])


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    home = config.stash[_HOME]
    deadline = time.monotonic() + _WORKERS_END_S
    while (home / "users").exists() and not asyncio.run(stop_embedded(home)) and time.monotonic() < deadline:
        time.sleep(0.05)
    shutil.rmtree(home, ignore_errors=True)


def _find_fast_folder() -> Path:
    """Return where the server lies: in memory where there is room, since each test's database is some 700 files."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _MEMORY_BYTES_MIN:
        return memory
    return Path(tempfile.gettempdir())


def _remove_abandoned() -> None:
    """Stop and remove the servers of earlier runs that were killed; a live run holds its own."""
    for users in _find_fast_folder().glob(f"{_HOME_PREFIX}*/users"):
        if os.access(users, os.W_OK) and asyncio.run(stop_embedded(users.parent)):
            shutil.rmtree(users.parent, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test log half a surrogate pair: a parallel run sends its log as UTF-8."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


_HOME = pytest.StashKey[Path]()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give each test its own HOME and none of the variables that rkyc reads."""
    for name in tuple(os.environ):
        if name.startswith(_FOREIGN_PREFIXES) or name in _FOREIGN_NAMES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Run async tests as the program runs: asyncio on uvloop."""
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(scope="session")
def fast_folder(pytestconfig: pytest.Config) -> Path:
    """A folder of this run for a further server, as fast as that of the embedded one."""
    return pytestconfig.stash[_HOME]


@pytest.fixture(scope="session")
async def postgres_server(anyio_backend: object, pytestconfig: pytest.Config) -> EmbeddedServer:
    """The embedded server of this run, with fsync off. Never kill it: see `private_server`."""
    return await start_embedded(pytestconfig.stash[_HOME], settings=FAST_SETTINGS)


@pytest.fixture(scope="session")
async def admin_dsn(anyio_backend: object, pytestconfig: pytest.Config) -> str:
    """A superuser's DSN on the server of this run."""
    if _ADMIN_DSN is not None:
        return _ADMIN_DSN
    return (await start_embedded(pytestconfig.stash[_HOME], settings=FAST_SETTINGS)).dsn


@pytest.fixture(scope="session")
async def template(anyio_backend: object, admin_dsn: str) -> str:
    """The name of the migrated database that tests clone."""
    return await make_template(admin_dsn)


@pytest.fixture(scope="session")
def rkyc_admin_dsn(admin_dsn: str) -> str:
    """The kit's databases lie on the server of this run."""
    return admin_dsn


@pytest.fixture(scope="session")
def rkyc_template(template: str) -> str:
    """The kit clones the same template."""
    return template


@pytest.fixture
async def dsn(anyio_backend: object, admin_dsn: str, template: str) -> AsyncIterator[str]:
    """A migrated database of this test's own."""
    async with fresh_database(admin_dsn, template) as name:
        yield name


@pytest.fixture
async def empty_dsn(anyio_backend: object, admin_dsn: str) -> AsyncIterator[str]:
    """A database without the schema, of this test's own."""
    async with fresh_database(admin_dsn) as name:
        yield name


@pytest.fixture
async def pool(anyio_backend: object, dsn: str) -> AsyncIterator[Pool]:
    """A pool on `dsn`."""
    opened = await Pool.open(dsn)
    try:
        yield opened
    finally:
        await opened.close()
