"""All rules over a snapshot: pure, the same drafts for the same input.

`evaluate` needs no model, no database and no clock. The rules about papers and news stand in modules of
their own; they read texts, not the snapshot.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from rkyc.steps.kyc.rules.bank import find_in_bank_records
from rkyc.steps.kyc.rules.facts import Facts
from rkyc.steps.kyc.rules.figures import find_in_figures
from rkyc.steps.kyc.rules.findings import Lang, draft_finding
from rkyc.steps.kyc.rules.ownership import find_in_ownership
from rkyc.steps.kyc.schemas import RiskSignalDraft


def evaluate(
    doc: dict[str, Any], previous: dict[str, Any] | None, as_of: date, lang: Lang = "ko"
) -> list[RiskSignalDraft]:
    """Return one draft per rule that holds.

    `doc` and `previous` are snapshot documents; without an earlier one the rules of change are skipped.
    `as_of` is the day from which ages are counted.
    """
    facts = Facts(doc, previous, as_of)
    found = [*find_in_figures(facts), *find_in_bank_records(facts), *find_in_ownership(facts)]
    drafts = [draft_finding(finding, facts, lang) for finding in found]
    return [draft for draft in drafts if draft is not None]
