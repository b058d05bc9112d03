"""How the risk signals of a run stand to those of earlier runs: NEW, CHANGED, UNCHANGED, GONE. Pure.

The same signature is the same risk signal. Under another signature it still continues an earlier one
when the same rule found it for the same period, or when it tells the same kind of event in the same
direction from a source that both cite: it is CHANGED then, and the earlier one is not GONE.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from uuid import UUID

from rkyc.steps.kyc.schemas import RiskSignalDraft
from rkyc.steps.kyc.signature import compute_content_digest
from rkyc.steps.kyc.vocabulary import ChangeKind, RiskSignalStatus


@dataclass(frozen=True, slots=True)
class Known:
    """A risk signal that the database holds."""

    risk_signal_id: int
    signature: str
    content_sha256: str
    event_type: str
    direction: str
    rule_id: str | None
    period: str | None
    status: str
    first_seen_job: UUID
    refs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a draft is. `continues` is the id of the risk signal that it takes the place of."""

    risk_signal_id: int
    change: ChangeKind
    continues: int | None = None


def compare_with_known(
    draft: RiskSignalDraft, known: Sequence[Known], *, present: Set[str], job_id: UUID, fresh_id: int
) -> Seen:
    """Say what a signed draft is; `fresh_id` becomes its id when it has none yet.

    `known` are newest first; `present` are the signatures of this run, which nothing else continues.
    What this very job reported in an earlier try counts as new again.
    """
    same = next((item for item in known if item.signature == draft.signature), None)
    earlier = _find_continued(draft, known, present, job_id)
    if same is None:
        change = ChangeKind.NEW if earlier is None else ChangeKind.CHANGED
        return Seen(fresh_id, change, earlier)
    if same.first_seen_job == job_id:
        change = ChangeKind.NEW if earlier is None else ChangeKind.CHANGED
        return Seen(same.risk_signal_id, change, earlier)
    is_equal = same.content_sha256 == compute_content_digest(draft)
    return Seen(same.risk_signal_id, ChangeKind.UNCHANGED if is_equal else ChangeKind.CHANGED)


def list_gone(last: Iterable[Known], seen: Sequence[Seen]) -> list[Known]:
    """Return what the last run reported and this one does not; what was dismissed is not gone, but settled."""
    present = {item.risk_signal_id for item in seen} | {item.continues for item in seen}
    return [
        item
        for item in last
        if item.risk_signal_id not in present and item.status != RiskSignalStatus.DISMISSED
    ]


def _find_continued(
    draft: RiskSignalDraft, known: Sequence[Known], present: Set[str], job_id: UUID
) -> int | None:
    refs = {item.ref for item in draft.evidence}
    for item in known:
        if item.signature in present or item.first_seen_job == job_id:
            continue
        if (item.event_type, item.direction, item.rule_id) != (
            draft.event_type,
            draft.direction,
            draft.rule_id,
        ):
            continue
        if item.period == draft.period if draft.rule_id else item.refs & refs:
            return item.risk_signal_id
    return None
