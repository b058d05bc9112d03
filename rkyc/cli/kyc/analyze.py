"""`rkyc analyze DOSSIER`: one analysis from folder to report, by a worker inside this process.

The job is durable like any other: Ctrl-C leaves it, and the next `analyze` or `serve` goes on with it.
Its progress goes to stderr, the end of the analysis to stdout.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Protocol
from uuid import UUID

import typer

from rkyc.analysis import encode_result, load_report
from rkyc.app import App, load_registry, open_app
from rkyc.cli.follow import choose_view, follow_job
from rkyc.cli.kyc.dossier import Dossier, read_folder, submit_dossier
from rkyc.cli.kyc.partial import PartialRun
from rkyc.cli.kyc.results import HTML, check_folder, choose_folder, write_files
from rkyc.cli.options import DsnOption, make_program
from rkyc.cli.output import say
from rkyc.cli.program import EXIT_FAILED, EXIT_INTERRUPTED
from rkyc.cli.session import KYC, announce, read_settings, run_async
from rkyc.cli.working import working
from rkyc.config import Settings
from rkyc.errors import ConfigError
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.report.summary import render_summary
from rkyc.report.types import Lang, ReportInput

# Seconds that running steps get at the end: those that are left are other jobs', and go on elsewhere.
GRACE_S = 3.0
STDOUT = "-"

program = make_program()


class LangChoice(StrEnum):
    KO = "ko"
    EN = "en"


class Run(Protocol):
    """What is run, and what comes after it."""

    @property
    def pipeline(self) -> Pipeline: ...

    async def finish(self, app: App, job_id: UUID) -> bool:
        """Show what the job gave; True: it completed."""
        ...

    async def leave(self, app: App, job_id: UUID) -> None:
        """Say what becomes of a job that the user interrupted."""
        ...


@program.command()
def analyze(
    dossier: Annotated[Path, typer.Argument(help="A folder with a corp.json.", metavar="DOSSIER")],
    out: Annotated[
        Path | None,
        typer.Option(help="Where the report goes. [default: rkyc-reports/NAME-DATE]", metavar="DIR"),
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option("--json", help="Write the result there too; - is stdout.", metavar="FILE|-"),
    ] = None,
    lang: Annotated[LangChoice, typer.Option(help="Language of the analysis.")] = LangChoice.KO,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Run up to the last of these steps and print their outputs; no report.", metavar="STEP"
        ),
    ] = None,
    dsn: DsnOption = None,
) -> None:
    """Analyse the dossier of a company and write report.html, report.md and result.json."""
    language: Lang = "en" if lang is LangChoice.EN else "ko"
    settings = read_settings()
    settings.require_dsn(dsn)
    read = read_folder(dossier, language)
    whole = load_registry().latest(KYC)
    run: Run
    if only:
        run = PartialRun(whole, only)
    else:
        folder = out or choose_folder(read.input["corp"]["name"], datetime.now().astimezone())
        run = WholeRun(whole, folder, json_file, language)
    raise typer.Exit(run_async(_run(settings, dsn, read, run)))


class WholeRun:
    """An analysis that ends in a report.

    Raises:
        ConfigError: a place that can't be written, found before the work.
    """

    def __init__(self, pipeline: Pipeline, folder: Path, json_file: str | None, lang: Lang) -> None:
        if json_file not in (None, STDOUT) and not Path(json_file).absolute().parent.is_dir():
            raise ConfigError(f"--json {json_file}: its folder is not there: make it first")
        check_folder(folder)
        self.pipeline = pipeline
        self._folder = folder
        self._json_file = json_file
        self._lang = lang

    async def finish(self, app: App, job_id: UUID) -> bool:
        report = await load_report(app.client, app.pool, job_id, self._lang)
        await asyncio.to_thread(self._write, report)
        status = report.result["status"]
        is_completed: bool = status == "completed"
        if not is_completed:
            say(f"job {job_id} {status}: `rkyc jobs retry {job_id}` starts it where it ended")
        return is_completed

    def _write(self, report: ReportInput) -> None:
        write_files(report, self._folder)
        text = encode_result(report.result)
        summary = render_summary(report) + f"\n{self._folder / HTML}"
        if self._json_file == STDOUT:
            sys.stdout.buffer.write(text)
            say(summary)
            return
        if self._json_file is not None:
            Path(self._json_file).write_bytes(text)
        print(summary)

    async def leave(self, app: App, job_id: UUID) -> None:
        say(
            f"job {job_id} is kept: the next `rkyc analyze` or `rkyc serve` goes on with it; "
            f"`rkyc jobs cancel {job_id}` ends it"
        )


async def _run(settings: Settings, dsn: str | None, dossier: Dossier, run: Run) -> int:
    async with open_app(settings, dsn=dsn, registry=Registry([run.pipeline])) as app:
        await announce(app)
        submitted = await submit_dossier(app, dossier, pipeline=run.pipeline.name)
        job_id = submitted.job_id
        async with working(app.make_worker(grace_s=GRACE_S)) as work:
            if not await work.until(follow_job(app.client, job_id, choose_view())):
                await run.leave(app, job_id)
                return EXIT_INTERRUPTED
            is_completed = await run.finish(app, job_id)
    return 0 if is_completed else EXIT_FAILED
