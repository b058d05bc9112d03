"""`rkyc demo`: an example company is analysed while its worker is killed, and it is shown that nothing is lost.

It uses the embedded Postgres and no key, whatever is set. Two real `serve` processes do the work; the
first is killed by SIGKILL inside the fifth step. The end is 0 only if everything that is told was checked.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO
from uuid import UUID

import typer

from rkyc.analysis import load_report
from rkyc.app import App, load_registry, open_app
from rkyc.cli.follow import ENDED, describe_step
from rkyc.cli.kyc.dossier import Dossier, read_folder, submit_dossier
from rkyc.cli.kyc.results import HTML, choose_folder, write_files
from rkyc.cli.options import make_program
from rkyc.cli.output import say
from rkyc.cli.processes import own_command
from rkyc.cli.program import EXIT_FAILED
from rkyc.cli.session import announce, read_settings, run_async
from rkyc.report.summary import render_summary, worst_signals
from rkyc.store.pool import Record

EXAMPLE = Path(__file__).parents[2] / "examples" / "hanbit-precision"
KILLED_IN = "signal"
# Seconds that the step waits in its first attempt, to be killed in; below its limit of 300.
PAUSE_S = 120
# Seconds until a start or a run is given up, on a slow and busy machine.
PATIENCE_S = 120.0
LOOK_S = 0.05
# The demo is the same for everyone: no setting of another database, no key that costs money.
_LEFT_OUT = re.compile(r"(RKYC_(ENV|DSN|DIRECT_DSN)|ENV|.*_API_KEY|INTERNAL_LLM_.*)")

program = make_program()


class _NotShownError(Exception):
    """What the demo shows did not come true."""


@program.command()
def demo() -> None:
    """Analyse an example, kill the worker inside the fifth step, and see another one go on."""
    try:
        run_async(_Demo().run())
    except _NotShownError as error:
        say(f"the demo failed: {error}")
        raise typer.Exit(EXIT_FAILED) from error


class _Demo:
    """One run; tells what happens, with the seconds since its start."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._settings = read_settings().model_copy(
            update={"dsn": None, "direct_dsn": None, "env": "development"}
        )

    async def run(self) -> None:
        dossier = read_folder(EXAMPLE)
        self._tell("starting a private Postgres and a worker (`rkyc serve --no-api`)")
        async with open_app(self._settings, registry=load_registry()) as app:
            await announce(app)
            log_file = self._settings.data_dir / "demo.log"
            with log_file.open("wb") as log:
                job_id = await self._run_and_kill(app, dossier, log)
                before = await app.client.steps(job_id)
                self._show(before)
                await self._resume(app, job_id, before, log)
            await self._report(app, job_id, dossier)
        self._tell(f"done; every claim above was checked. What the workers logged: {log_file}")

    async def _run_and_kill(self, app: App, dossier: Dossier, log: IO[bytes]) -> UUID:
        with _worker(log, "--pause-in", f"{KILLED_IN}:{PAUSE_S}") as process:
            first = await self._wait_until_ready(process)
            job_id = (await submit_dossier(app, dossier)).job_id
            name = dossier.input["corp"]["name"]
            self._tell(f"{first} is ready; submitted {name}, {len(dossier.files)} files, as job {job_id}")
            await self._wait_for_step(app, job_id, process)
            # The step waits for minutes: a moment later the worker is surely inside it.
            await asyncio.sleep(LOOK_S)
            process.kill()
            process.wait()
        steps = await app.client.steps(job_id)
        others = {step["worker"] for step in steps if step["status"] == "completed"} - {first}
        if others:
            raise _NotShownError(
                f"another worker took the job ({', '.join(others)}): stop it and run the demo again"
            )
        self._tell(f"kill -9 {process.pid}, inside step 5, {KILLED_IN}. What the database holds:")
        return job_id

    async def _resume(self, app: App, job_id: UUID, before: Sequence[Record], log: IO[bytes]) -> None:
        killed_at = time.monotonic()
        with _worker(log) as process:
            second = await self._wait_until_ready(process)
            self._tell(f"another worker is ready, {second}")
            await self._wait_for_step(app, job_id, process, attempt=2)
            self._tell(
                f"it goes on at step 5, {KILLED_IN}, attempt 2, {time.monotonic() - killed_at:.1f} s after the kill"
            )
            await self._wait_for_end(app, job_id, process)
        after = await app.client.steps(job_id)
        self._show(after[4:])
        _check_resumed(before, after, second)
        job = await app.client.get(job_id)
        if job["status"] != "completed":
            raise _NotShownError(f"job {job_id} {job['status']}: {job['error_code']} {job['error_message']}")
        self._tell(
            "the job completed; steps 1-4 ran once each, by the first worker, and were not touched again"
        )

    async def _report(self, app: App, job_id: UUID, dossier: Dossier) -> None:
        report = await load_report(app.client, app.pool, job_id)
        folder = choose_folder(dossier.input["corp"]["name"], datetime.now().astimezone())
        await asyncio.to_thread(write_files, report, folder)
        if len(worst_signals(report.result)) < 3:
            raise _NotShownError("fewer than three risk signals were found")
        print(f"\n{render_summary(report)}\nreport: {folder.absolute() / HTML}", flush=True)
        print(f"status: rkyc jobs show {job_id}\n", flush=True)

    async def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> str:
        """Return the name of the worker, once it says that it is ready."""
        assert process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                line = await asyncio.to_thread(process.stdout.readline)
        except TimeoutError as error:
            process.kill()
            raise _NotShownError(f"the worker was not ready within {PATIENCE_S:g} s") from error
        if not line:
            raise _NotShownError(f"the worker ended at its start: see {self._settings.data_dir / 'demo.log'}")
        return str(json.loads(line)["worker"])

    async def _wait_for_step(
        self, app: App, job_id: UUID, process: subprocess.Popen[bytes], attempt: int = 1
    ) -> None:
        """Wait until the step to be killed in runs its n-th attempt, or has run it."""
        while True:
            steps = {step["step"]: step for step in await app.client.steps(job_id)}
            step = steps[KILLED_IN]
            if step["attempt"] >= attempt and step["status"] in ("running", "completed"):
                return
            await self._pause(app, job_id, process)

    async def _wait_for_end(self, app: App, job_id: UUID, process: subprocess.Popen[bytes]) -> None:
        while (await app.client.get(job_id))["status"] not in ENDED:
            await self._pause(app, job_id, process)

    async def _pause(self, app: App, job_id: UUID, process: subprocess.Popen[bytes]) -> None:
        """Wait a moment between two looks, while there is something to hope for."""
        if process.poll() is not None:
            raise _NotShownError(f"the worker ended by itself, with exit code {process.returncode}")
        if time.monotonic() - self._began > 2 * PATIENCE_S:
            raise _NotShownError(f"job {job_id} did not go on in time: `rkyc jobs show {job_id}`")
        job = await app.client.get(job_id)
        if job["status"] == "failed":
            raise _NotShownError(f"job {job_id} failed: {job['error_code']} {job['error_message']}")
        await asyncio.sleep(LOOK_S)

    def _show(self, steps: Sequence[Record]) -> None:
        for step in steps:
            print(f"          {step['step']:<11} {describe_step(step)}", flush=True)

    def _tell(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:5.1f} s] {text}", flush=True)


def _check_resumed(before: Sequence[Record], after: Sequence[Record], second: str) -> None:
    """Check that the completed steps stand as they stood, and that the killed one ran again elsewhere.

    Raises:
        _NotShownError
    """
    kept = ("step", "status", "attempt", "started_at", "finished_at", "worker")
    for old, new in zip(before[:4], after[:4], strict=True):
        if old["status"] != "completed" or old["attempt"] != 1:
            raise _NotShownError(
                f"step {old['step']} was {describe_step(old)} at the kill, expected one attempt, completed"
            )
        if [old[name] for name in kept] != [new[name] for name in kept]:
            raise _NotShownError(f"step {new['step']} had completed before the kill and was run again")
    killed = after[4]
    if (before[4]["status"], killed["status"], killed["attempt"]) != ("running", "completed", 2):
        raise _NotShownError(
            f"step {killed['step']} was {describe_step(before[4])} at the kill and is {describe_step(killed)}"
        )
    if killed["worker"] != second:
        raise _NotShownError(f"step {killed['step']} was done by {killed['worker']}, expected {second}")


@contextmanager
def _worker(log: IO[bytes], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `serve` as a process of its own, that ends with the block."""
    environment = {name: value for name, value in os.environ.items() if not _LEFT_OUT.fullmatch(name)}
    process = subprocess.Popen(
        own_command("serve", "--no-api", "--grace", "5", *arguments),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
