"""From a dossier's folder to a job: read and check, upload, enqueue.

Nothing is written before the whole dossier was read and found good.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from rkyc.app import App
from rkyc.cli.output import say
from rkyc.engine.client import Submitted
from rkyc.errors import DossierError
from rkyc.steps.kyc.dossier import Dossier, read_dossier
from rkyc.steps.kyc.schemas import Lang
from rkyc.store.blobs import write_blob

__all__ = ["Dossier", "read_folder", "submit_dossier"]


def read_folder(folder: Path, lang: Lang = "ko") -> Dossier:
    """Read a dossier and tell its warnings.

    Raises:
        DossierError: it can't be analysed as it is.
    """
    dossier = read_dossier(folder, lang=lang)
    for warning in dossier.warnings:
        say(f"warning: {warning}")
    return dossier


async def submit_dossier(
    app: App,
    dossier: Dossier,
    *,
    pipeline: str = "kyc",
    metadata: dict[str, Any] | None = None,
    **options: Any,
) -> Submitted:
    """Upload the dossier's files and enqueue its job; options are those of `Client.submit`.

    Raises:
        DossierError: a file changed since it was read.
        UnknownPipelineError, UnknownLaneError, ConflictError
    """
    for sha256, path in dossier.files:
        await _upload(app, sha256, path)
    corp_name = dossier.input["corp"]["name"]
    return await app.client.submit(
        pipeline,
        dossier.input,
        metadata={"corp_name": corp_name, **(metadata or {})},
        **options,
    )


async def _upload(app: App, sha256: str, path: Path) -> None:
    data = await asyncio.to_thread(path.read_bytes)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DossierError(
            f"{path.name} changed while it was submitted: submit again when nobody writes to it"
        )
    async with app.pool.connection() as conn:
        await write_blob(conn, data)
