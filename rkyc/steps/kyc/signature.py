"""The signature of a risk signal: what makes two sightings the same.

sha256 over kind, event type, rule and the sorted evidence references; not over words or numbers, so the
same finding keeps its signature when its wording or its severity changes.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata

from rkyc.steps.kyc.schemas import RiskSignalDraft


def compute_signature(draft: RiskSignalDraft) -> str:
    """Return 64 hex digits; equal for equal findings in any run, language and order of evidence."""
    refs = sorted({f"{item.ref_type}:{unicodedata.normalize('NFC', item.ref)}" for item in draft.evidence})
    return _digest([draft.signal_type, draft.event_type, draft.rule_id or "", refs])


def compute_content_digest(draft: RiskSignalDraft) -> str:
    """Return a digest of the facts under a signature: equal means UNCHANGED.

    A rule's quotes are values and belong to the facts; a model's quotes may be cut differently each run.
    """
    quotes = sorted(item.quote for item in draft.evidence) if draft.rule_id else []
    return _digest([draft.category, draft.direction, draft.strength, draft.severity, quotes])


def _digest(parts: list[object]) -> str:
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
