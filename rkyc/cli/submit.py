"""`rkyc submit PIPELINE`: enqueue a job and print its id; with `--wait` follow it to its end.

The jobs are run by `rkyc serve`. A pipeline that this command can import is checked and made known
first; any other must have been served on this database.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from rkyc.app import App
from rkyc.cli.follow import choose_view, follow_job
from rkyc.cli.jobs import describe_end, read_pairs
from rkyc.cli.options import (
    AppOption,
    DsnOption,
    JsonOption,
    make_program,
    read_instant,
    read_json_input,
)
from rkyc.cli.output import print_json, say
from rkyc.cli.program import EXIT_FAILED
from rkyc.cli.session import KYC, announce, load_pipelines, open_store, run_async
from rkyc.engine.client import Submitted
from rkyc.errors import InvalidInputError, ValidationError
from rkyc.flow.pipeline import Registry
from rkyc.store.pool import Record

program = make_program()


@dataclass(frozen=True, slots=True)
class _Order:
    """What is asked for, read and checked; `dossier` is one of `rkyc.steps.kyc.dossier`, or None.

    `options` are those of `Client.submit`.
    """

    pipeline: str
    input: Any
    dossier: Any
    options: dict[str, Any]


@program.command()
def submit(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE")],
    input: Annotated[
        str | None, typer.Option("--input", help="The job's input. [default: {}]", metavar="JSON|@FILE")
    ] = None,
    dossier: Annotated[
        Path | None,
        typer.Option(help="A dossier: its files are uploaded, its manifest is the input.", metavar="DIR"),
    ] = None,
    corp: Annotated[
        str | None, typer.Option(help="A company's id, for `jobs list --corp`.", metavar="ID")
    ] = None,
    meta: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Metadata to find it by; may be given several times."),
    ] = None,
    lane: Annotated[str, typer.Option(help="high, default, low, or one that a step declares.")] = "default",
    key: Annotated[str | None, typer.Option(help="Idempotency key: the same one makes one job.")] = None,
    run_at: Annotated[
        str | None, typer.Option(help="Not before this instant, ISO 8601.", metavar="TIME")
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(help="The job fails when it has not ended by then.", metavar="SECONDS", min=0),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="It pauses before a call that would cost more in all.", metavar="USD", min=0),
    ] = None,
    fair_key: Annotated[
        str | None, typer.Option(help="Jobs of different keys begin in turns.", metavar="KEY")
    ] = None,
    weight: Annotated[float, typer.Option(help="The share of its fair key.", min=0.01, max=100)] = 1.0,
    tenant: Annotated[
        str, typer.Option(help="Whose keys seal it, whose limits and pauses hold for it.")
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Follow the job; exit code 1 when it fails.")] = False,
    app: AppOption = None,
    json: JsonOption = False,
    dsn: DsnOption = None,
) -> None:
    """Enqueue a job and print its id."""
    registry = load_pipelines(pipeline, app or ())
    order = _Order(
        pipeline,
        *_read_input(registry, pipeline, input, dossier),
        {
            "lane": lane,
            "idempotency_key": key,
            "run_at": read_instant(run_at) if run_at else None,
            "deadline_s": deadline,
            "budget_usd": budget,
            "fair_key": fair_key,
            "weight": weight,
            "tenant": tenant,
            "metadata": (read_pairs(meta or []) or {}) | ({"corp": corp} if corp else {}),
        },
    )
    is_completed = run_async(_submit(dsn, registry, order, wait, json))
    raise typer.Exit(0 if is_completed else EXIT_FAILED)


async def _submit(dsn: str | None, registry: Registry, order: _Order, waits: bool, is_json: bool) -> bool:
    async with open_store(dsn, registry) as app:
        await announce(app)
        submitted = await _enqueue(app, order)
        if not is_json:
            print(submitted.job_id, flush=True)
        if not submitted.is_new:
            say(f"job {submitted.job_id} was there already, by its key")
        job: Record | None = None
        if waits:
            job = await follow_job(app.client, submitted.job_id, choose_view())
            say(describe_end(job))
        if is_json:
            state = job["status"] if job is not None else "pending"
            print_json({"job_id": submitted.job_id, "is_new": submitted.is_new, "status": state})
        return job is None or bool(job["status"] == "completed")


async def _enqueue(app: App, order: _Order) -> Submitted:
    if order.dossier is not None:
        from rkyc.cli.kyc.dossier import submit_dossier

        return await submit_dossier(app, order.dossier, pipeline=order.pipeline, **order.options)
    return await app.client.submit(order.pipeline, order.input, **order.options)


def _read_input(registry: Registry, pipeline: str, given: str | None, folder: Path | None) -> tuple[Any, Any]:
    """Return (input, dossier), one of them None.

    Raises:
        InvalidInputError: both or an unusable one; the pipeline's first step would refuse it.
    """
    if given is not None and folder is not None:
        raise InvalidInputError("--input and --dossier exclude each other: give one of them")
    value = read_json_input(given) if given is not None else {}
    if pipeline == KYC and folder is None and isinstance(value, dict) and set(value) == {"dossier"}:
        folder = Path(str(value["dossier"]))
    if folder is not None:
        from rkyc.cli.kyc.dossier import read_folder

        return None, read_folder(folder)
    if any(known.name == pipeline for known in registry):
        try:
            registry.latest(pipeline).check_input(value)
        except ValidationError as error:
            raise InvalidInputError(f"{error.message}; give it with --input or --dossier") from error
    return value, None
