"""The machine on which the commands run: a database of the test's own, the probe pipelines importable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.hosts import Host, open_hosts

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def host(dsn: str, tmp_path: Path) -> AsyncIterator[Host]:
    async with open_hosts(tmp_path, {"RKYC_DSN": dsn, "PYTHONPATH": str(ROOT)}) as (one,):
        yield one
