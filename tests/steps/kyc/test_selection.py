from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rkyc.steps.kyc.schemas import RiskSignalDraft
from rkyc.steps.kyc.selection import KnownSignal, select
from rkyc.steps.kyc.signature import compute_signature
from tests.support.context import NOW
from tests.support.kyc import make_draft


def known(draft: RiskSignalDraft, **changes: Any) -> KnownSignal:
    fields: dict[str, Any] = {
        "signature": compute_signature(draft),
        "category": draft.category,
        "rule_id": draft.rule_id,
        "title": draft.title,
        "summary": draft.summary,
        "severity": draft.severity,
        "status": "NEW",
        "refs": frozenset(evidence.ref for evidence in draft.evidence),
        "best_grade": "B",
        "seen_at": NOW - timedelta(days=3),
    }
    return KnownSignal(**fields | changes)


def test_at_most_five_are_kept_worst_first_and_none_is_lost() -> None:
    severities = [1, 5, 3, 4, 2, 3, 5]
    drafts = [
        make_draft(rule_id=f"R-{n}", ref=f"https://a{n}.example/", severity=severity)
        for n, severity in enumerate(severities)
    ]
    output = select(drafts, [], NOW)
    assert [draft.severity for draft in output.kept] == [5, 5, 4, 3, 3]
    assert [draft.severity for draft in output.below_cut] == [2, 1]
    assert all(draft.signature for draft in (*output.kept, *output.below_cut))


def test_few_are_not_filled_up() -> None:
    assert select([], [], NOW).kept == []


def test_model_that_says_what_a_rule_said_joins_it() -> None:
    rule = make_draft(rule_id="E-LAWSUIT")
    model = make_draft(source="direct", title="소송 제기", summary="다른 말로 쓴 같은 일")
    output = select([model, rule], [], NOW)
    assert [draft.rule_id for draft in output.kept] == ["E-LAWSUIT"]
    assert output.merged == 1


def test_two_rules_with_alike_words_stay_two() -> None:
    drafts = [
        make_draft(rule_id="F-A", ref="https://a.example/"),
        make_draft(rule_id="F-B", ref="https://b.example/"),
    ]
    assert len(select(drafts, [], NOW).kept) == 2


@pytest.mark.parametrize(("days", "reasons"), [(29, ["DUPLICATE"]), (31, [])])
def test_alike_words_within_thirty_days_are_a_duplicate(days: int, reasons: list[str]) -> None:
    earlier = known(make_draft(ref="https://old.example/"), seen_at=NOW - timedelta(days=days))
    output = select([make_draft(ref="https://new.example/")], [earlier], NOW)
    assert [item.reason for item in output.dropped] == reasons


def test_same_signature_is_reported_again() -> None:
    draft = make_draft()
    output = select([draft], [known(draft)], NOW)
    assert [kept.signature for kept in output.kept] == [compute_signature(draft)]


def test_story_with_one_more_source_keeps_its_signature() -> None:
    before = make_draft(rule_id="E-LAWSUIT")
    more = make_draft(ref="https://other.example/2").evidence
    after = before.model_copy(update={"evidence": [*before.evidence, *more]})
    output = select([after], [known(before)], NOW)
    assert output.kept[0].signature == compute_signature(before)


@pytest.mark.parametrize(
    ("changes", "comes_back"),
    [
        ({}, False),
        ({"severity": 4}, True),
        ({"severity": 2}, False),
        ({"grade": "A"}, True),
        ({"grade": "C"}, False),
    ],
)
def test_dismissed_one_comes_back_only_graver_or_better_sourced(
    changes: dict[str, Any], comes_back: bool
) -> None:
    dismissed = known(make_draft(), status="DISMISSED", best_grade="B")
    draft = make_draft(severity=changes.get("severity", 3))
    evidence = draft.evidence[0].model_copy(update={"source_grade": changes.get("grade", "B")})
    output = select([draft.model_copy(update={"evidence": [evidence]})], [dismissed], NOW)
    assert bool(output.kept) is comes_back
    assert [item.reason for item in output.dropped] == ([] if comes_back else ["DISMISSED_BEFORE"])


def test_dismissed_story_stays_away_under_another_signature() -> None:
    dismissed = known(make_draft(event_type="ADVERSE_MEDIA"), status="DISMISSED")
    assert select([make_draft()], [dismissed], NOW).kept == []
