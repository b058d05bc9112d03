"""Writes a job's events for a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from rkyc.api.wire import dump, embed
from rkyc.flow.job_events import JobEvent


def encode_event(event: JobEvent, job_id: UUID, extra: Mapping[str, Any]) -> bytes:
    """Write an event as a stream has it; `extra` are fields that each event of the stream gets."""
    data = {
        "job_id": job_id,
        "type": event.type,
        "step": event.step,
        "status": event.status,
        "progress_pct": event.progress_pct,
        "ts": event.at,
        **event.more,
        **extra,
    }
    if "result" in event.more:
        data["result"] = embed(event.more["result"])
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.id, event.type.encode(), dump(data))
