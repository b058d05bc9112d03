"""The plugin as users get it: found by pytest alone, its databases made and dropped."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

pytestmark = pytest.mark.anyio

USERS_TEST = """
import asyncio
from rkyc import Pipeline, step

@step
async def double(ctx, input: dict) -> dict:
    return {"n": input["n"] * 2}

def test_doubling(rkyc_kit):
    job = asyncio.run(rkyc_kit.run_inline(Pipeline("doubling", 1, double), {"n": 21}))
    assert job.result == {"n": 42}
    print("database", rkyc_kit.dsn)
"""


async def test_a_users_test_runs_and_leaves_no_database(admin_dsn: str, tmp_path: Path) -> None:
    (tmp_path / "test_users.py").write_text(USERS_TEST)
    environ = {
        **os.environ,
        "RKYC_TEST_DSN": admin_dsn,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTEST_ADDOPTS": "",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-s",
        "-p",
        "no:cacheprovider",
        "-p",
        "rkyc.testing.plugin",
    ]
    done = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said, _ = await done.communicate()
    assert (done.returncode, b"1 passed" in said) == (0, True), said.decode()
    # By its name: other tests make databases of their own meanwhile.
    name = re.search(r"database \S+/(test_\w+)", said.decode())
    assert name is not None and name[1] not in await databases(admin_dsn)


async def databases(admin_dsn: str) -> set[str]:
    conn = await asyncpg.connect(admin_dsn)
    try:
        return {row["datname"] for row in await conn.fetch("SELECT datname FROM pg_database")}
    finally:
        await conn.close()
