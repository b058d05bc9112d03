"""The pytest plugin: `rkyc_kit`, a kit on a migrated database of the test's own.

It comes with the package (entry point `pytest11`) and loads nothing until a test asks for the
fixture. The server is a private Postgres of the test run (`rkyc[embedded]`), or the one that
RKYC_TEST_DSN names, with a role that may create databases. The fixtures are plain ones: any plugin
that runs async tests will do, or `asyncio.run`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rkyc.testing.kit import Kit

_PREFIX = "rkyc-kit-"
# A power cut may lose all of it, which a test can bear.
_FAST_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@pytest.fixture(scope="session")
def rkyc_admin_dsn(pytestconfig: pytest.Config) -> Iterator[str]:
    """The DSN of a server on which databases may be created; override it to use one of your own."""
    given = os.environ.get("RKYC_TEST_DSN")
    if given:
        yield given
        return
    from rkyc.store.embedded import start_embedded, stop_embedded

    _remove_abandoned()
    # The processes of a parallel run share one server.
    run = getattr(pytestconfig, "workerinput", {}).get("testrunuid") or secrets.token_hex(8)
    home = Path(tempfile.gettempdir()) / f"{_PREFIX}{run}"
    server = asyncio.run(start_embedded(home, settings=_FAST_SETTINGS))
    yield server.dsn
    if asyncio.run(stop_embedded(home)):
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def rkyc_template(rkyc_admin_dsn: str) -> str:
    """The name of the migrated database that `rkyc_dsn` clones."""
    from rkyc.store.scratch import make_template

    return asyncio.run(make_template(rkyc_admin_dsn))


@pytest.fixture
def rkyc_dsn(rkyc_admin_dsn: str, rkyc_template: str) -> Iterator[str]:
    """The DSN of a migrated database of this test's own."""
    from rkyc.store.scratch import create_database, drop_database

    dsn = asyncio.run(create_database(rkyc_admin_dsn, rkyc_template))
    yield dsn
    asyncio.run(drop_database(rkyc_admin_dsn, dsn))


@pytest.fixture
def rkyc_kit(rkyc_dsn: str) -> Kit:
    """A kit on a database of this test's own: see `rkyc.testing.kit.Kit`."""
    from rkyc.testing.kit import Kit

    return Kit(rkyc_dsn)


def _remove_abandoned() -> None:
    """Stop and remove the servers of test runs that were killed; a live run holds its own."""
    from rkyc.store.embedded import stop_embedded

    for users in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/users"):
        if os.access(users, os.W_OK) and asyncio.run(stop_embedded(users.parent)):
            shutil.rmtree(users.parent, ignore_errors=True)
