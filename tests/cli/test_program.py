"""The list of commands, help, and how an error becomes a message and an exit code."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from rkyc.cli.program import OUTLINES
from tests.support.hosts import Host, open_hosts

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


async def test_help_lists_every_command(tmp_path: Path) -> None:
    async with open_hosts(tmp_path, {}) as (host,):
        done = await host.run("--help")
    assert done.code == 0
    commands = done.out.partition("Commands:\n")[2]
    listed = [line.split()[0] for line in commands.splitlines() if line.strip()]
    assert listed == [outline.name for outline in OUTLINES]
    assert "..." not in commands  # no line is cut short


@pytest.mark.parametrize("outline", OUTLINES, ids=lambda outline: outline.name)
def test_every_outline_leads_to_a_command(outline: object) -> None:
    program = importlib.import_module(outline.module).program  # type: ignore[attr-defined]
    assert typer.main.get_command(program).help


async def test_unknown_command_names_a_near_one(tmp_path: Path) -> None:
    async with open_hosts(tmp_path, {}) as (host,):
        done = await host.run("analyse")
    assert done.code == 2 and "'analyze'" in done.err


async def test_wrong_setting_is_named_with_what_is_allowed(tmp_path: Path) -> None:
    async with open_hosts(tmp_path, {"RKYC_SLOTS": "many"}) as (host,):
        done = await host.run("jobs", "list")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: RKYC_SLOTS") and "'many'" in done.err and "100000" in done.err


async def test_a_bug_shows_its_traceback_and_has_a_code_of_its_own(tmp_path: Path) -> None:
    async with open_hosts(tmp_path, {}) as (host,):
        (host.cwd / "broken.py").write_text("raise ZeroDivisionError('a bug of the user')")
        done = await host.run("graph", "kyc", "--app", "broken:registry")
    assert done.code == 70
    assert "Traceback" in done.err and "a bug of the user" in done.err


async def test_missing_extra_is_named_with_what_to_install(tmp_path: Path) -> None:
    async with open_hosts(tmp_path, {}) as (host,):
        (host.cwd / "jinja2.py").write_text("raise ModuleNotFoundError('no jinja2', name='jinja2')")
        done = await host.run("analyze", host.cwd)
    assert done.code == 2
    assert "jinja2" in done.err and "rkyc[all]" in done.err


async def test_output_that_nobody_reads_to_its_end_is_no_bug(host: Host) -> None:
    command = f"{sys.executable} -m rkyc sql --json 'select * from pg_class, pg_namespace' | head -c 1"
    process = await asyncio.create_subprocess_shell(
        command, env=host.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    assert out == b"["
    assert b"Traceback" not in err
