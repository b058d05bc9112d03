"""Step 1: gathers what is known of the company in figures and records into a versioned snapshot.

A version is added only when the content changed. `previous/` counts only while the database holds no
earlier snapshot of the company; it then becomes version 1. The company's row is found or made while the
step runs (repeatable); versions land with the checkpoint, and two runs at once never share a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from rkyc.errors import CorpNotFoundError, DossierError, RetryableException, SnapshotInvalidError
from rkyc.flow.context import StepContext
from rkyc.providers.llm.types import DataClass
from rkyc.steps.kyc.layout import CORP, PREVIOUS, FileKind, classify_file
from rkyc.steps.kyc.schemas import CorpIn, FileRef, KycInput, SnapshotOut
from rkyc.steps.kyc.snapshot_document import (
    SnapshotDocument,
    build_snapshot,
    list_document_changes,
    parse_corp,
    sort_periods,
)
from rkyc.store.blobs import read_blob
from rkyc.store.kyc.corps import CorpFields, ensure_corp, lock_corp, update_corp
from rkyc.store.kyc.snapshots import (
    SnapshotRow,
    StatementRow,
    add_analysis,
    add_snapshot,
    read_latest,
    read_version,
    reserve_id,
)
from rkyc.store.pool import Connection, Pool

_PARTS = (FileKind.CORP, FileKind.STATEMENTS, FileKind.XBRL, FileKind.BANK)
# Parsing less than this takes a few milliseconds; more must not hold up the loop.
_INLINE_BYTES_MAX = 256 * 1024


@dataclass(frozen=True, slots=True)
class Pending:
    """What `save` writes: `rows` are the new versions, `latest_version` what they follow (0: none)."""

    job_id: UUID
    corp: CorpFields
    rows: tuple[SnapshotRow, ...]
    latest_version: int
    lang: str


async def run(ctx: StepContext, input: KycInput) -> SnapshotOut:
    """Build the snapshot and say what changed.

    Raises:
        SnapshotInvalidError: a file of the dossier can't be read; the message says which and where.
        StorageDownloadError: an uploaded file is not to be had; tried again.
    """
    pool = ctx.use(Pool)
    current = await _build(ctx, pool, input.corp, input.files, prefix="")
    ctx.progress(0.6)
    async with pool.connection() as conn:
        corp_id = await ensure_corp(conn, _fields(input.corp))
        latest = await read_latest(conn, corp_id)
    ctx.metadata(corp_id=corp_id, corp_name=input.corp.name)
    previous = None
    if latest is None and input.previous:
        previous = await _build_previous(ctx, pool, input)
    async with pool.connection() as conn:
        rows, shown = await _plan(conn, ctx, corp_id, latest, previous, current)
        earlier = next((row for row in rows if row.version == shown.version - 1), None)
        if earlier is None:
            earlier = await read_version(conn, corp_id, shown.version - 1)
    return SnapshotOut(
        corp_id=corp_id,
        corp_name=input.corp.name,
        snapshot_id=shown.id,
        snapshot_version=shown.version,
        sha256=shown.sha256,
        previous_version=earlier.version if earlier else None,
        changed_paths=list_document_changes(earlier.doc, shown.doc) if earlier else [],
        as_of=input.corp.as_of or ctx.now.date(),
        periods=sort_periods(current.doc["statements"]),
        statements_class=DataClass.PUBLIC if input.corp.listed_code else DataClass.INTERNAL,
        pending=Pending(
            ctx.job_id, _fields(input.corp), tuple(rows), latest.version if latest else 0, input.lang
        ),
    )


async def save(conn: Connection, output: SnapshotOut) -> None:
    """Write new versions, the company's fields, and which snapshot this run looks at.

    Raises:
        RetryableException: another run of the company has added a version meanwhile.
    """
    pending: Pending = output.pending
    if not await lock_corp(conn, output.corp_id):
        raise CorpNotFoundError(
            f"company {output.corp_id} was removed while it was analysed; submit the dossier again"
        )
    latest = await read_latest(conn, output.corp_id)
    if pending.rows and (latest.version if latest else 0) != pending.latest_version:
        raise RetryableException(
            f"company {output.corp_id}: another run added a snapshot at the same moment; tried again on top of it"
        )
    await update_corp(conn, output.corp_id, pending.corp)
    for row in pending.rows:
        await add_snapshot(conn, row)
    await add_analysis(
        conn,
        job_id=pending.job_id,
        corp_id=output.corp_id,
        snapshot_id=output.snapshot_id,
        lang=pending.lang,
        as_of=output.as_of,
    )


async def _build(
    ctx: StepContext, pool: Pool, corp: CorpIn, refs: list[FileRef], *, prefix: str
) -> SnapshotDocument:
    files: dict[str, bytes] = {}
    async with pool.connection() as conn:
        for ref in refs:
            if classify_file(ref.name) in _PARTS:
                files[ref.name] = await read_blob(conn, ref.sha256)
    try:
        if prefix and CORP in files:
            corp = parse_corp(files[CORP], file_name=CORP)
        is_heavy = any(classify_file(name) is FileKind.XBRL for name in files)
        if is_heavy or sum(map(len, files.values())) > _INLINE_BYTES_MAX:
            built = await ctx.run_in_process(build_snapshot, corp, files)
        else:
            built = build_snapshot(corp, files)
    except DossierError as error:
        raise SnapshotInvalidError(prefix + error.message, error.details) from error
    for code, message in built.warnings:
        ctx.warn(code, prefix + message, partial=False)
    return built


async def _build_previous(ctx: StepContext, pool: Pool, manifest: KycInput) -> SnapshotDocument:
    """Build the earlier snapshot; without a corp.json of its own it has the company's name alone."""
    named = CorpIn(name=manifest.corp.name, currency=manifest.corp.currency)
    return await _build(ctx, pool, named, manifest.previous, prefix=PREVIOUS)


async def _plan(
    conn: Connection,
    ctx: StepContext,
    corp_id: int,
    latest: SnapshotRow | None,
    previous: SnapshotDocument | None,
    current: SnapshotDocument,
) -> tuple[list[SnapshotRow], SnapshotRow]:
    """Return the versions to add and the one that this run looks at."""
    rows: list[SnapshotRow] = []
    newest = latest
    for built, source in ((previous, "previous"), (current, "current")):
        if built is None or (newest is not None and newest.sha256 == built.sha256):
            continue
        newest = SnapshotRow(
            id=await reserve_id(conn),
            corp_id=corp_id,
            version=newest.version + 1 if newest else 1,
            doc=built.doc,
            sha256=built.sha256,
            source=source,
            job_id=ctx.job_id,
            taken_at=ctx.now,
            statements=tuple(
                StatementRow(
                    figure.fiscal_year,
                    figure.period,
                    figure.concept,
                    figure.value,
                    figure.currency,
                    figure.ref,
                )
                for figure in built.figures
            ),
        )
        rows.append(newest)
    assert newest is not None  # `current` was built: either it is there already, or it was added.
    return rows, newest


def _fields(corp: CorpIn) -> CorpFields:
    return CorpFields(
        name=corp.name,
        name_en=corp.name_en,
        aliases=tuple(corp.aliases),
        biz_no=corp.biz_no,
        corp_reg_no=corp.corp_reg_no,
        industry_code=corp.industry_code,
        ceo_name=corp.ceo_name,
        country=corp.country,
        listed_code=corp.listed_code,
        currency=corp.currency,
    )
