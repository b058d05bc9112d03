"""`analyze` and `demo`: the files, the exit codes, an interrupted run that goes on, a part of the steps."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.dossiers import HANBIT, SAEBOM
from tests.support.hosts import Host, open_hosts

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
STEPS = ["snapshot", "doc_ingest", "external", "context", "signal", "validation", "index", "insight"]
# Keys of result.json that scripts outside rely on.
PROMISED = {
    *("job_id", "pipeline", "status", "partial", "warnings", "corp", "steps", "signals", "below_cut"),
    *("dropped", "insight", "documents", "usage"),
}


async def test_report_is_written_and_the_worst_signals_are_told(host: Host) -> None:
    done = await host.run("analyze", HANBIT)
    assert done.code == 0, done
    (folder,) = (host.cwd / "rkyc-reports").iterdir()
    assert re.fullmatch(r"한빛정밀-주식회사-\d{4}-\d\d-\d\d", folder.name)
    assert {path.name for path in folder.iterdir()} == {"report.html", "report.md", "result.json"}
    result = json.loads((folder / "result.json").read_text("utf-8"))
    assert set(result) >= PROMISED
    assert [step["step"] for step in result["steps"]] == STEPS
    assert all(step["status"] == "completed" and step["attempts"] == 1 for step in result["steps"])
    assert [line[:2] for line in done.out.splitlines() if re.match(r"\d\. \[", line)] == ["1.", "2.", "3."]
    assert done.out.splitlines()[-1].endswith("report.html")
    assert "insight: completed" in done.err


async def test_second_run_of_a_day_keeps_the_first_report_and_marks_what_stayed(host: Host) -> None:
    for _ in range(2):
        assert (await host.run("analyze", HANBIT, "--json", "again.json")).code == 0
    folders = sorted(path.name for path in (host.cwd / "rkyc-reports").iterdir())
    assert len(folders) == 2 and folders[1] == f"{folders[0]}-2"
    again = json.loads((host.cwd / "again.json").read_text("utf-8"))
    assert {signal["change"] for signal in again["signals"]} == {"UNCHANGED"}


async def test_interrupted_run_is_kept_and_goes_on(host: Host) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rkyc", "analyze", str(HANBIT), "--out", "out"),
        env=host.environ,
        cwd=host.cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    while b"doc_ingest: running" not in (line := await process.stderr.readline()):
        assert line, "the analysis ended before it could be interrupted"
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 130
    job_id = re.search(r"job (\S+) is kept", err.decode())
    assert job_id is not None
    assert not (host.cwd / "out").exists()
    server = await host.serve("--no-api")
    assert (await host.run("jobs", "watch", job_id[1])).code == 0
    assert await server.stop() == 0


async def test_only_some_steps_give_their_outputs_and_no_report(host: Host) -> None:
    done = await host.run("analyze", SAEBOM, "--only", "doc_ingest", "--only", "snapshot")
    assert done.code == 0, done
    shown = json.loads(done.out)
    assert (shown["pipeline"], shown["status"]) == ("kyc.until-doc_ingest", "completed")
    assert list(shown["outputs"]) == ["snapshot", "doc_ingest"]
    assert shown["outputs"]["snapshot"]["corp_name"]
    assert list(host.cwd.iterdir()) == []
    assert (await host.run("sql", "--json", "select * from rkyc.analysis_jobs")).json == []
    unknown = await host.run("analyze", SAEBOM, "--only", "nothing")
    assert unknown.code == 2 and "snapshot" in unknown.err


async def test_place_that_cannot_be_written_is_told_before_the_work(host: Host) -> None:
    (host.cwd / "file").touch()
    done = await host.run("analyze", SAEBOM, "--out", "file/out")
    assert done.code == 2 and "file/out" in done.err and "--out" in done.err
    done = await host.run("analyze", SAEBOM, "--json", "nowhere/result.json")
    assert done.code == 2 and "nowhere/result.json" in done.err
    assert (await host.run("jobs", "list", "--json")).json == []


async def test_demo_shows_the_kill_and_the_resume(tmp_path: Path) -> None:
    # Neither another database nor a key steers the demo.
    steered = {"RKYC_DSN": "postgresql://nobody@127.0.0.1:1/none", "ANTHROPIC_API_KEY": "none"}
    async with open_hosts(tmp_path, steered) as (host,):
        done = await host.run("demo")
        assert done.code == 0, done
        lines = done.out.splitlines()
        assert len(lines) <= 40
        kill = next(number for number, line in enumerate(lines) if "kill -9" in line)
        resume = next(number for number, line in enumerate(lines) if "attempt 2" in line)
        assert kill < resume
        assert sum("completed" in line for line in lines[kill + 1 : kill + 5]) == 4
        assert "signal      running" in lines[kill + 5]
        assert sum(re.match(r"\d\. \[", line) is not None for line in lines) == 3
        place = next(line.removeprefix("report: ") for line in lines if line.startswith("report: "))
        assert Path(place).is_file() and Path(place).is_relative_to(host.cwd.resolve())
