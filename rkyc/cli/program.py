"""The list of commands, and the one place where an error becomes a message and an exit code.

0: done. 1: the job failed. 2: the caller's mistake, or a database that can't serve; nothing was
changed. 70: a bug, with its traceback. 130: interrupted.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from types import TracebackType

import typer

from rkyc import __version__
from rkyc.cli.lazy import LazyGroup, Outline
from rkyc.errors import RkycError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BUG = 70
EXIT_INTERRUPTED = 130

OUTLINES = (
    Outline("demo", "rkyc.cli.kyc.demo", "Analyse an example while its worker is killed."),
    Outline("analyze", "rkyc.cli.kyc.analyze", "Analyse the dossier of a company and write a report."),
    Outline("serve", "rkyc.cli.serve", "Run jobs, and the web app, until stopped."),
    Outline("submit", "rkyc.cli.submit", "Enqueue a job and print its id."),
    Outline("publish", "rkyc.cli.publish", "Publish an event to all jobs that wait for its topic."),
    Outline("jobs", "rkyc.cli.jobs", "List, show, watch, cancel, retry and fork jobs."),
    Outline("rerun", "rkyc.cli.job_changes", "Run what changed of an ended job again, as a new job."),
    Outline("lanes", "rkyc.cli.lanes", "Pause a lane, or let it go on."),
    Outline("pipelines", "rkyc.cli.pipelines", "Pause a pipeline, or let it go on."),
    Outline("tenants", "rkyc.cli.tenants", "Pause a tenant, or let it go on."),
    Outline("schedules", "rkyc.cli.schedules", "Jobs by the clock: list, add, run, pause, resume, remove."),
    Outline("dlq", "rkyc.cli.dlq", "List, show, requeue and discard dead letters."),
    Outline("keys", "rkyc.cli.keys", "List, rotate and erase the keys that seal tenants' payloads."),
    Outline("audit", "rkyc.cli.audit", "List what people did, newest first."),
    Outline("limits", "rkyc.cli.limits", "Show what holds starts and calls back; close a breaker."),
    Outline("workers", "rkyc.cli.workers", "List the processes that run jobs."),
    Outline("graph", "rkyc.cli.graph", "Draw the steps of a pipeline."),
    Outline("sql", "rkyc.cli.sql", "Ask the database: one statement, or a loop of them."),
    Outline("migrate", "rkyc.cli.migrate", "Bring the database's schema up to date."),
)

program = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,  # the decorated help takes 0.15 s to load
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"rkyc {__version__}")
        raise typer.Exit


@program.callback(help="Durable LLM pipelines and corporate risk analysis: one process and one Postgres.")
def _begin(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_show_version, help="Show the version."
    ),
) -> None:
    """Take the options that stand before a command."""


def run_program(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    sys.excepthook = _report_bug
    group = typer.main.get_command(program)
    assert isinstance(group, LazyGroup)
    group.commands.update({str(outline.name): outline for outline in OUTLINES})
    try:
        group(list(arguments), prog_name="rkyc")
    except RkycError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return EXIT_USAGE
    return 0


def _report_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show what nobody expected, whole, and end with a code of its own."""
    traceback.print_exception(kind, error, trace)
    raise SystemExit(EXIT_INTERRUPTED if issubclass(kind, KeyboardInterrupt) else EXIT_BUG)
