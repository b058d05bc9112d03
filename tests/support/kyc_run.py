"""Runs the eight steps over a dossier folder, one after another, without the engine.

Each output passes through JSON before the next step sees it, as a checkpoint would have it, and each
`save` runs in a transaction of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from pydantic import BaseModel

from rkyc.providers.embedding.embedder import Embedder
from rkyc.providers.embedding.lexical import LexicalEmbedding
from rkyc.providers.llm.router import Llm
from rkyc.providers.search.router import Search
from rkyc.steps.kyc import context, doc_ingest, external, index, insight, signal, snapshot, validation
from rkyc.steps.kyc.dossier import read_dossier
from rkyc.steps.kyc.schemas import (
    ContextOut,
    DocIngestOut,
    ExternalOut,
    IndexOut,
    InsightOut,
    KycInput,
    SignalOut,
    SnapshotOut,
    ValidationOut,
)
from rkyc.store.blobs import write_blob
from rkyc.store.pool import Pool
from tests.support.context import NOW, InlineContext


@dataclass
class KycRun:
    """The outputs of one run, and the contexts of its steps by name."""

    job: KycInput
    job_id: UUID
    contexts: dict[str, InlineContext]
    snapshot: SnapshotOut
    doc_ingest: DocIngestOut
    external: ExternalOut
    context: ContextOut
    signal: SignalOut
    validation: ValidationOut
    index: IndexOut
    insight: InsightOut

    @property
    def warnings(self) -> list[dict[str, Any]]:
        return [warning for each in self.contexts.values() for warning in each.warnings]


async def run_kyc(
    pool: Pool,
    folder: Path,
    *,
    lang: str = "ko",
    llm: Llm | None = None,
    search: Search | None = None,
    embedder: Embedder | None = None,
    now: datetime = NOW,
) -> KycRun:
    """Upload the dossier and run all steps."""
    job = await upload(pool, folder, lang=lang)
    job_id = uuid4()
    resources = (pool, llm or Llm(), search or Search(), embedder or Embedder(LexicalEmbedding()))
    contexts: dict[str, InlineContext] = {}
    outputs: dict[str, Any] = {}

    async def step(name: str, module: Any, *inputs: BaseModel) -> None:
        contexts[name] = InlineContext(*resources, step=name, job_id=job_id, now=now)
        output = await module.run(contexts[name], *inputs)
        if hasattr(module, "save"):
            async with pool.transaction() as conn:
                await module.save(conn, output)
        outputs[name] = type(output).model_validate_json(output.model_dump_json())

    await step("snapshot", snapshot, job)
    snap = outputs["snapshot"]
    await step("doc_ingest", doc_ingest, snap, job)
    await step("external", external, outputs["doc_ingest"], job, snap)
    await step("context", context, outputs["external"], job, snap, outputs["doc_ingest"])
    await step("signal", signal, outputs["context"], job, snap)
    await step("validation", validation, outputs["signal"], job, snap)
    await step("index", index, outputs["validation"], snap)
    await step("insight", insight, outputs["index"], job, snap, outputs["doc_ingest"], outputs["validation"])
    return KycRun(job=job, job_id=job_id, contexts=contexts, **outputs)


async def upload(pool: Pool, folder: Path, *, lang: str = "ko") -> KycInput:
    """Store a dossier's files as blobs and return the job's input."""
    dossier = read_dossier(folder, lang=lang)  # type: ignore[arg-type]
    async with pool.connection() as conn:
        for sha256, path in dossier.files:
            assert await write_blob(conn, path.read_bytes()) == sha256
    return KycInput.model_validate(dossier.input)
